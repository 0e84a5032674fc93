"""How hard, how long and what is trained? The settings of fine-tuning an HPM head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from ....errors import ConfigError
from ....numerics.arguments import parse_number, parse_seed, parse_whole

Loss = Literal["ikl", "ce"]
Part = Literal["mixer", "fc", "trunk"]


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """The settings of :func:`.finetune.finetune_hpm`.

    Arguments:
        eps (float): Linf radius of the attack, in pixel units of [0, 1]; 0 trains on clean images.
            (Default: 8/255)
        loss (str): "ikl": cross-entropy of the clean logits plus IKL between clean and attacked
            ones (the ascent is on IKL); "ce": cross-entropy of the attacked ones. (Default: "ikl")
        epochs (int): >= 1. (Default: 1)
        steps (int): of ascent, eps / 4 long, from a random point of the ball; >= 1. (Default: 10)
        rate (float): Adam's learning rate, > 0. (Default: 5e-5)
        batch_size (int): >= 1. (Default: 64)
        train (tuple of str): what learns beside C_glob: "mixer", "fc", "trunk" (in training mode
            then). (Default: ("mixer",))
        seed (int): of order and attack. (Default: 0)

    C_glob averages the features of the batch that the loss was taken on. The paper leaves open
    whether the linear head learns; here it does when asked to. Raises ConfigError outside these
    domains.

    >>> Tuning(eps=0.1, loss="ce").steps
    10
    """

    eps: float = 8 / 255
    loss: Loss = "ikl"
    epochs: int = 1
    steps: int = 10
    rate: float = 5e-5
    batch_size: int = 64
    train: tuple[Part, ...] = ("mixer",)
    seed: int = 0

    def __post_init__(self) -> None:
        parts = (self.train,) if isinstance(self.train, str) else tuple(self.train)
        object.__setattr__(self, "train", parts)
        for name in ("epochs", "steps", "batch_size"):
            object.__setattr__(self, name, parse_whole(getattr(self, name), name, 1))
        object.__setattr__(self, "seed", parse_seed(self.seed))
        for name in ("eps", "rate"):
            object.__setattr__(self, name, parse_number(getattr(self, name), name))
        if not 0 <= self.eps <= 1 or not 0 < self.rate < float("inf"):
            raise ConfigError(
                f"eps={self.eps!r} must lie in [0, 1] (8/255, not 8) and rate={self.rate!r} in "
                "(0, inf)"
            )
        if self.loss not in get_args(Loss) or set(self.train) - set(get_args(Part)):
            raise ConfigError(
                f"loss={self.loss!r} is to be one of {get_args(Loss)}, train={self.train!r} some "
                f"of {get_args(Part)}"
            )


def tuning_of(options: Mapping[str, Any]) -> Tuning:
    """The settings of these names. Raises ConfigError for names that are none.

    >>> tuning_of({"eps": 0.1}).loss
    'ikl'
    """
    known = [f.name for f in fields(Tuning)]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ConfigError(f"fine-tuning has no {unknown}; its settings are {known}")
    return Tuning(**options)
