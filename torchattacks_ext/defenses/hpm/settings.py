"""Which reclassifier is it? The settings of an HPM head, with the switches of its ablations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from ...errors import ConfigError

Mixer = Literal["linear", "convex"]
Distance = Literal["l2", "l2sq", "dot"]
Assign = Literal["ste", "soft", "hard", "none"]
Empty = Literal["global", "zero"]


@dataclass(frozen=True, kw_only=True)
class HPMSettings:
    """How features become logits, with prototypes C_glob of the data set and C_batch of the batch.

    Arguments:
        mixer (str): "linear" (the paper's, learnable) or "convex": share C_glob + (1 - share)
            C_batch, without parameters; the ablation "no mixer". (Default: "linear")
        share (float): of C_glob in the convex mixer, and at the start of the linear one; in
            [0, 1]. (Default: 0.5)
        momentum (float): of the running average that C_glob is in training, in [0, 1).
            (Default: 0.98)
        distance (str): logits are -||z - c|| ("l2", the paper's), -||z - c||^2 ("l2sq") or z.c
            ("dot"; the ablation "inner product"). (Default: "l2")
        assign (str): whose features C_batch averages: "ste" (each row counts for the class that
            the linear head names, with the gradient of the softmax), "hard" (no gradient), "soft"
            (by softmax), "none": C_batch := C_glob, so that rows do not depend on each other.
            (Default: "ste")
        empty (str): C_batch of a class that no row is assigned to: that of C_glob ("global", ours)
            or zero (the paper's). (Default: "global")
        use_global (bool): False leaves C_glob out, C_batch stands in its place; the ablation "no
            C_glob". Needs empty="zero". (Default: True)

    Raises ConfigError for values outside these domains, and for combinations without a meaning.

    >>> HPMSettings(mixer="convex", share=0.0).facts()["distance"]
    'l2'
    """

    mixer: Mixer = "linear"
    share: float = 0.5
    momentum: float = 0.98
    distance: Distance = "l2"
    assign: Assign = "ste"
    empty: Empty = "global"
    use_global: bool = True

    def __post_init__(self) -> None:
        words = {"mixer": Mixer, "distance": Distance, "assign": Assign, "empty": Empty}
        for name, domain in words.items():
            if getattr(self, name) not in get_args(domain):
                raise ConfigError(
                    f"{name}={getattr(self, name)!r} is not one of {get_args(domain)}"
                )
        if not 0 <= self.share <= 1:
            raise ConfigError(f"share={self.share!r} must lie in [0, 1]")
        if not 0 <= self.momentum < 1:
            raise ConfigError(f"momentum={self.momentum!r} must lie in [0, 1)")
        if not self.use_global and self.empty == "global":
            raise ConfigError(
                "use_global=False leaves nothing to fill an empty class with: say empty='zero'"
            )
        if not self.use_global and self.assign == "none":
            raise ConfigError(
                "use_global=False and assign='none' leave no prototypes at all; keep one of them"
            )

    def facts(self) -> dict[str, Any]:
        """Every setting, in JSON types."""
        return asdict(self)


def read_settings(facts: Mapping[str, Any]) -> HPMSettings:
    """The inverse of `facts`. Raises ConfigError for names that are no settings.

    >>> read_settings(HPMSettings(share=0.25).facts()).share
    0.25
    """
    try:
        return HPMSettings(**facts)
    except TypeError as error:
        raise ConfigError(f"these are no settings of an HPM head: {error}") from None
