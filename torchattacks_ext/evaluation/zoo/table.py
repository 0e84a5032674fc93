"""What does each attack class of torchattacks do, take and promise?

torchattacks says little about its classes: most have no norm attribute, the radius has two names,
and four documented defaults are not those of the code. The tests check this table against the
classes of torchattacks 3.5.1, by reading them and by running them.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torchattacks

from ..._typing import Norm

Family = Literal[
    "gradient",
    "transfer",
    "optimisation",
    "minimum-norm",
    "score",
    "sparse",
    "noise",
    "ensemble",
    "foreign",
]
AttackNorm = Literal["Linf", "L2", "L1", "L0"] | None
Seeding = Literal["deterministic", "global generator", "self-seeded"]

EXCLUDED: Mapping[str, str] = {
    "MultiAttack": "a wrapper: name its attacks, each is judged and the worst case is kept",
    "LGV": "it trains copies of the model: collect them first and give them as surrogates",
}
"""Exported by torchattacks but no attack on one given model, with the reason."""


@dataclass(frozen=True)
class AttackInfo:
    """What is known about one attack class; None says that the class has no such thing."""

    name: str
    norm: AttackNorm  # bounded or minimised; the default of `norms`
    family: Family
    paper: str  # arXiv number, empty where there is none
    seeding: Seeding = "deterministic"
    """Whether it draws from torch or NumPy, and whether its `seed` reseeds torch."""
    eps_argument: str | None = "eps"  # None: minimum-norm or unbounded
    steps_argument: str | None = "steps"
    min_steps: int = 1
    targeted: bool = True
    norms: tuple[Norm, ...] = ()  # what the constructor's `norm` may be
    classes: Literal["n_classes"] | None = None
    """Constructor argument that must be the model's number of classes."""
    min_classes: int = 2
    access: Literal["white-box", "score", "none"] = "white-box"
    spatial: bool = True  # images must be (N, C, H, W)
    channels: int | None = None  # the only C that works

    @property
    def default_steps(self) -> int | None:
        """Default of `steps_argument`, read from the class."""
        argument = self.steps_argument
        return None if argument is None else parameters_of(self.name)[argument].default

    @property
    def caveat(self) -> str:
        """What a reader of its numbers must know; may be empty."""
        return _CAVEATS.get(self.name, "")


def parameters_of(name: str) -> dict[str, inspect.Parameter]:
    """Constructor parameters of the class, without the model.

    >>> list(parameters_of("FGSM"))
    ['eps']
    """
    parameters = inspect.signature(getattr(torchattacks, name)).parameters
    return {key: value for key, value in parameters.items() if key != "model"}


_NOTHING = {"VANILA", "GN"}
_UNTARGETED = {"VANILA", "GN", *"TPGD APGD APGDT PIFGSM DeepFool".split()}
_UNTARGETED |= {"SparseFool", "AutoAttack"}
_RADIUS = {"PIFGSM": "max_epsilon", "PIFGSMPP": "max_epsilon"}
_UNBOUNDED = {"VANILA", "GN", *"JSMA EADL1 EADEN CW DeepFool".split()}
_UNBOUNDED |= {"SparseFool", "OnePixel", "Pixle"}
_STEPS = dict.fromkeys(("EADL1", "EADEN", "Pixle"), "max_iterations")
_STEPS |= dict.fromkeys(("PIFGSM", "PIFGSMPP"), "num_iter_set")
_STEPS |= {"SPSA": "nb_iter", "Square": "n_queries"}
_STEPLESS = {"VANILA", "GN", "FGSM", "FFGSM", "JSMA", "AutoAttack"}
_MIN_STEPS = {"BIM": 0, "EADL1": 10, "EADEN": 10}
_TWO_NORMS = {"APGD", "APGDT", "FAB", "AutoAttack", "Square"}
_NEED_K = {"APGDT": 4, "FAB": 2, "AutoAttack": 4}
_SCORE = {"SPSA", "OnePixel", "Pixle", "Square"}
_ANY_SHAPE = {"VANILA", "GN", *"FGSM BIM RFGSM PGD EOTPGD FFGSM TPGD".split()}
_ANY_SHAPE |= set("SPSA JSMA EADL1 EADEN CW DeepFool SparseFool FAB".split())
_COLOUR = {"TIFGSM", "PIFGSM", "PIFGSMPP"}


def _row(
    name: str,
    norm: AttackNorm,
    family: Family,
    paper: str,
    seeding: Seeding = "deterministic",
) -> AttackInfo:
    """One entry: what differs from attack to attack is said here, what a few share above."""
    access: Literal["white-box", "score", "none"] = "white-box"
    if name in _NOTHING or name in _SCORE:
        access = "none" if name in _NOTHING else "score"
    return AttackInfo(
        name,
        norm,
        family,
        paper,
        seeding,
        eps_argument=None if name in _UNBOUNDED else _RADIUS.get(name, "eps"),
        steps_argument=None if name in _STEPLESS else _STEPS.get(name, "steps"),
        min_steps=_MIN_STEPS.get(name, 1),
        targeted=name not in _UNTARGETED,
        norms=("Linf", "L2") if name in _TWO_NORMS else (),
        classes="n_classes" if name in _NEED_K else None,
        min_classes=_NEED_K.get(name, 2),
        access=access,
        spatial=name not in _ANY_SHAPE,
        channels=3 if name in _COLOUR else None,
    )


TABLE = (
    _row("VANILA", None, "noise", ""),
    _row("GN", None, "noise", "", "global generator"),
    _row("FGSM", "Linf", "gradient", "1412.6572"),
    _row("BIM", "Linf", "gradient", "1607.02533"),
    _row("RFGSM", "Linf", "gradient", "1705.07204", "global generator"),
    _row("PGD", "Linf", "gradient", "1706.06083", "global generator"),
    _row("EOTPGD", "Linf", "gradient", "1907.00895", "global generator"),
    _row("FFGSM", "Linf", "gradient", "2001.03994", "global generator"),
    _row("TPGD", "Linf", "gradient", "1901.08573", "global generator"),
    _row("MIFGSM", "Linf", "transfer", "1710.06081"),
    _row("UPGD", "Linf", "gradient", ""),
    _row("APGD", "Linf", "gradient", "2003.01690", "self-seeded"),
    _row("APGDT", "Linf", "gradient", "2003.01690", "self-seeded"),
    _row("DIFGSM", "Linf", "transfer", "1803.06978", "global generator"),
    _row("TIFGSM", "Linf", "transfer", "1904.02884", "global generator"),
    _row("Jitter", "Linf", "gradient", "2105.10304", "global generator"),
    _row("NIFGSM", "Linf", "transfer", "1908.06281"),
    _row("PGDRS", "Linf", "gradient", "1906.04584", "global generator"),
    _row("SINIFGSM", "Linf", "transfer", "1908.06281"),
    _row("VMIFGSM", "Linf", "transfer", "2103.15571", "global generator"),
    _row("VNIFGSM", "Linf", "transfer", "2103.15571", "global generator"),
    _row("SPSA", "Linf", "score", "1802.05666", "global generator"),
    _row("JSMA", "L0", "sparse", "1511.07528"),
    _row("EADL1", "L1", "optimisation", "1709.04114"),
    _row("EADEN", "L2", "optimisation", "1709.04114"),
    _row("PIFGSM", "Linf", "transfer", "2007.06765"),
    _row("PIFGSMPP", "Linf", "transfer", "2012.15503"),
    _row("CW", "L2", "optimisation", "1608.04644"),
    _row("PGDL2", "L2", "gradient", "1706.06083", "global generator"),
    _row("DeepFool", "L2", "minimum-norm", "1511.04599"),
    _row("PGDRSL2", "L2", "gradient", "1906.04584", "global generator"),
    _row("SparseFool", "L0", "sparse", "1811.02248"),
    _row("OnePixel", "L0", "sparse", "1710.08864", "global generator"),
    _row("Pixle", "L0", "sparse", "2202.02236", "global generator"),
    _row("FAB", "Linf", "minimum-norm", "1907.02044", "self-seeded"),
    _row("AutoAttack", "Linf", "ensemble", "2003.01690", "self-seeded"),
    _row("Square", "Linf", "score", "1912.00049", "self-seeded"),
)
_UNCHANGED = "images that it does not break inside eps come back unchanged"
_EAD = "stops early on the sum over the batch; its first step also moves the reference image"
_RGB = "3 channels only; arguments momentum and prob have no effect"
_ONE_RESIZE = "one random resize for the whole batch, and to a square image"
_BY_LABEL = "in every targeted mode it aims at the labels that it is given"
_CAVEATS: Mapping[str, str] = {
    "VANILA": "returns the clean images: a control",
    "GN": "one draw of Gaussian noise (std=0.1) that eps does not bound",
    "BIM": "steps=0 stands for min(255 eps + 4, 1.25 * 255 eps)",
    "TPGD": "does not use the labels: it leaves the clean prediction, right or wrong",
    "UPGD": "by default MIFGSM: momentum 1 and no random start",
    "APGD": f"10 steps by default (AutoAttack: 100); {_UNCHANGED}",
    "APGDT": f"10 steps by default (AutoAttack: 100); {_UNCHANGED}",
    "DIFGSM": _ONE_RESIZE,
    "TIFGSM": f"3 channels only; {_ONE_RESIZE}",
    "PGDRS": "attacks the mean over noisy copies (noise_sd=0.5), not the model itself",
    "PGDRSL2": "attacks the mean over noisy copies (noise_sd=0.5), not the model itself",
    "SPSA": "by default one step of 0.01 a pixel, with one noise for the whole batch; its default "
    f"eps is 0.3, not the documented 8/255; {_BY_LABEL}",
    "JSMA": "aims at the next class only; memory grows with the square of the number of pixels",
    "EADL1": _EAD,
    "EADEN": f"minimises L2^2 + beta L1; {_EAD}",
    "PIFGSM": _RGB,
    "PIFGSMPP": f"{_RGB}; {_BY_LABEL}",
    "CW": "constant c=1 without search; pixels at 0 or 1 never move; adding a constant to all "
    "logits changes the result; stops early on the sum over the batch",
    "SparseFool": "sparse changes of any size: little of them is left in a Linf or L2 ball",
    "OnePixel": "one pixel changed by any amount: little of it is left in a Linf or L2 ball",
    "Pixle": "moves pixels by any amount: little of it is left in a Linf or L2 ball; as many "
    "iterations again for each of 20 restarts",
    "FAB": f"10 steps by default (AutoAttack: 100); {_UNCHANGED}",
    "AutoAttack": "not AutoAttack: 10 steps (there 100), no L1, seeded by the clock by default",
    "Square": f"one square a query for the whole batch; {_UNCHANGED}",
}
