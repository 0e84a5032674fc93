"""What is one line of a plan? A kind of attack, on whom, how long, and which rows go on to it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from ...errors import ConfigError
from ...numerics.arguments import parse_real, parse_whole

Kind = Literal[
    "noise", "apgd", "apgd-t", "malt", "smooth", "fab-t", "fab", "square", "warm"
]
Loss = Literal["ce", "dlr", "margin", "pm", "pm-t"]
OWN_KINDS = ("malt", "smooth")
"""Kinds that the engine "own" alone can run."""
OWN_LOSSES = ("pm", "pm-t")
"""Losses of the same kind."""
KINDS = tuple(kind for kind in get_args(Kind) if kind not in OWN_KINDS)
"""Kinds that every engine has."""
LOSSES = tuple(loss for loss in get_args(Loss) if loss not in OWN_LOSSES)


@dataclass(frozen=True)
class AttackSpec:
    """One line of a plan: what is run, on whom, how long.

    Arguments:
        kind (str): "noise" (corners of the ball), "apgd", "apgd-t", "fab-t", "fab", "square" or
            "warm" (APGD from the best candidate so far); of the engine "own" also "malt" (APGD at
            the classes that are nearest to first order) and "smooth" (ascent by the mean gradient
            over noise).
        on (str): "each" (surrogates, then the target), "surrogates", "target", "best" (the
            target, and for each row the model whose attack came nearest), or the name of one
            surrogate.
        loss (str): of "apgd" and "warm": "ce", "dlr" or "margin"; of the engine "own" also "pm"
            (margin of probabilities) and "pm-t" (the same at a temperature of the row's own).
        steps (int): iterations; queries of "square", draws of "noise".
        restarts (int): runs from other starting points.
        targets (int): classes tried by targeted kinds, at most K - 1.
        gate (float): a row goes on only if its smallest margin so far is below `gate` times its
            clean margin; inf lets all on, and 0 (of the engine "own") those alone of which
            gradients say nothing.
        sigma (float): of "smooth": width of the noise, in radii.
        copies (int): of "smooth": draws of the noise a step.
        reach (float): of "apgd", "warm" and "malt" of the engine "own": radii of the ball in which
            the run begins; from above 1 it comes in from outside.

    >>> AttackSpec("apgd", steps=10).label, AttackSpec("smooth", steps=50, sigma=1).label
    ('apgd-ce-10', 'smooth-1-50')
    """

    kind: Kind
    on: str = "each"
    loss: Loss = "ce"
    steps: int = 100
    restarts: int = 1
    targets: int = 9
    gate: float = float("inf")
    sigma: float = 2.0
    copies: int = 4
    reach: float = 1.0

    def __post_init__(self) -> None:
        for name, domain in (("kind", Kind), ("loss", Loss)):
            if getattr(self, name) not in get_args(domain):
                raise ConfigError(
                    f"{name}={getattr(self, name)!r} is not one of {get_args(domain)}"
                )
        for name in ("steps", "restarts", "targets", "copies"):
            value = parse_whole(getattr(self, name), name, 1)
            object.__setattr__(self, name, value)
        for name in ("gate", "sigma", "reach"):
            object.__setattr__(self, name, parse_real(getattr(self, name), name))
        if not self.gate >= 0:
            raise ConfigError(f"gate={self.gate!r} must be >= 0, or inf for all rows")
        if not 0 < self.sigma < float("inf"):
            raise ConfigError(f"sigma={self.sigma!r} must be > 0 and finite, say 2")
        if not 1 <= self.reach < float("inf"):
            raise ConfigError(f"reach={self.reach!r} must be >= 1 and finite, say 3")

    @property
    def label(self) -> str:
        """A short name for tables: kind, what of it matters, steps."""
        more = {
            "apgd": f"-{self.loss}",
            "warm": f"-{self.loss}",
            "malt": f"-{self.targets}",
            "smooth": f"-{self.sigma:g}",
        }.get(self.kind, "")
        wide = f"-from-{self.reach:g}" if self.reach > 1 else ""
        return f"{self.kind}{more}{wide}-{self.steps}"

    @property
    def is_own(self) -> bool:
        """Whether the engine "own" alone can run this line."""
        special = self.reach > 1 or not self.gate
        return self.kind in OWN_KINDS or self.loss in OWN_LOSSES or special

    def facts(self) -> dict[str, Any]:
        """In JSON types, for settings and hashes."""
        found = asdict(self)
        if self.kind != "smooth":
            del found["sigma"], found["copies"]
        if self.reach == 1:
            del found["reach"]
        return found | {"gate": None if self.gate == float("inf") else self.gate}
