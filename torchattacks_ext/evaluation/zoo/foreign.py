"""How does "package.module:Class" become an attack? Imported by its name, checked, built, called.

The convention is torchattacks': ``Class(model, **arguments)(images, labels)`` gives adversarial
images. Only a module that the user names is imported. Classes of :mod:`captum.robust` are called
by their `perturb`.
"""

from __future__ import annotations

import importlib
import inspect
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from torch import Tensor, nn

from ..._typing import NORMS, Norm
from ...engines.fork import fold_seed
from ...engines.zoo.attack import quiet
from ...errors import BackendError, ConfigError
from ...numerics.arguments import parse_number

_SPEC = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
_FRACTION = re.compile(r"\s*[-+\d.eE]+\s*/\s*[\d.]+\s*")
RADII = ("eps", "radius", "epsilon", "max_epsilon")
"""Names of the argument that is the radius; the first that a class has gets the plan's."""


def is_foreign(name: str) -> bool:
    """Whether a name is that of a class anywhere, and none of torchattacks.

    >>> is_foreign("mine.attacks:Best"), is_foreign("PGD")
    (True, False)
    """
    return ":" in name


@dataclass(frozen=True)
class ForeignAttack:
    """A class (or a function) that builds attacks. spec: its name. origin: package and version."""

    spec: str
    make: Callable[..., Any]
    origin: str
    takes: Mapping[str, inspect.Parameter]
    by_perturb: bool = False

    @property
    def radius(self) -> str | None:
        """Its argument for the radius; None where it has none."""
        return next((name for name in RADII if name in self.takes), None)

    def given(
        self, eps: float, norm: Norm, n_classes: int, seed: int, device: Any
    ) -> dict[str, Any]:
        """The arguments that a plan and a model decide, as far as the class has them."""
        found: dict[str, Any] = {} if self.radius is None else {self.radius: eps}
        known = {"n_classes": n_classes, "num_classes": n_classes, "device": device}
        found |= {name: value for name, value in known.items() if name in self.takes}
        if "norm" in self.takes and self.takes["norm"].default in NORMS:
            found["norm"] = norm
        if "seed" in self.takes:
            found["seed"] = fold_seed(seed)
        return found

    def check(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments with fractions as numbers. Raises ConfigError for those it cannot take."""
        own = self.given(0.0, "Linf", 2, 0, None)
        names = list(self.takes)
        for key in arguments:
            if key in own:
                raise ConfigError(
                    f"{self.spec}: {key}={arguments[key]!r} is decided by the plan; leave it out"
                )
            if key not in self.takes and not self._open:
                raise ConfigError(
                    f"{self.spec} takes no argument {key!r}; it takes {', '.join(names) or 'none'}"
                )
        lacks = [
            name
            for name, one in self.takes.items()
            if one.default is one.empty
            and one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)
            and name not in {*own, *arguments}
        ]
        if lacks:
            raise ConfigError(f"{self.spec} needs {', '.join(lacks)}; give it a value")
        return {
            key: (
                parse_number(value, f"{self.spec}: {key}")
                if isinstance(value, str) and _FRACTION.fullmatch(value)
                else value
            )
            for key, value in arguments.items()
        }

    @property
    def _open(self) -> bool:
        return any(one.kind is one.VAR_KEYWORD for one in self.takes.values())

    def create(self, victim: nn.Module, arguments: Mapping[str, Any]) -> Prepared:
        """The attack on one victim. arguments: all of them. Raises ConfigError where it refuses."""
        try:
            with quiet():
                if self.by_perturb:
                    return Prepared(self.spec, _perturbing(self, victim, arguments))
                attack = self.make(victim, **arguments)
        except (TypeError, ValueError, NotImplementedError, AssertionError) as error:
            shown = {key: f"{value!s:.40}" for key, value in arguments.items()}
            raise ConfigError(f"{self.spec} refuses {shown}: {error}") from error
        except Exception as error:
            raise BackendError(
                f"{self.spec} raised {type(error).__name__} when it was built: {error}"
            ) from error
        if not callable(attack):
            raise BackendError(
                f"{self.spec} made a {type(attack).__name__} that cannot be called; expected "
                "attack(images, labels) -> images"
            )
        return Prepared(self.spec, attack)


@dataclass(frozen=True)
class Prepared:
    """An attack ready to be called. attack: its name. keeps_graphs: it may go backward twice."""

    attack: str
    call: Callable[[Tensor, Tensor], Any]
    keeps_graphs: bool = True

    def __call__(self, images: Tensor, labels: Tensor) -> Any:
        """What the attack returns."""
        return self.call(images, labels)


def _perturbing(
    one: ForeignAttack, victim: nn.Module, arguments: Mapping[str, Any]
) -> Callable[[Tensor, Tensor], Any]:
    """captum's classes: the loss is the cross entropy, the default takes scores for shares."""
    first = inspect.signature(one.make).parameters
    made = {key: value for key, value in arguments.items() if key in first}
    own = {
        "loss_func": nn.CrossEntropyLoss(reduction="none"),
        "lower_bound": 0.0,
        "upper_bound": 1.0,
    } | made
    attack = one.make(victim, **own)
    rest = {key: value for key, value in arguments.items() if key not in made}

    def call(images: Tensor, labels: Tensor) -> Any:
        return attack.perturb(images, target=labels, **rest)

    return call


_OF_A_CALL = ("self", "inputs", "target", "additional_forward_args", "targeted", "mask")


def find_attack(spec: str) -> ForeignAttack:
    """Import "package.module:Class". Raises ConfigError for a name that is none, no such module,
    no such class, or a module that raises when imported.

    >>> find_attack("torchattacks:PGD").radius
    'eps'
    """
    if not _SPEC.fullmatch(spec):
        raise ConfigError(
            f"attack {spec!r} is no name of a class; write package.module:Class"
        )
    module_name, _, name = spec.partition(":")
    module = _imported(module_name, spec)
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            raise ConfigError(f"attack {spec!r}: {module_name} has no {name!r}")
        found = getattr(found, part)
    if not callable(found) or isinstance(found, nn.Module):
        raise ConfigError(
            f"attack {spec!r} is a {type(found).__name__}, expected a class that is called with a "
            "model"
        )
    by_perturb = module_name.split(".")[0] == "captum" and hasattr(found, "perturb")
    return ForeignAttack(
        spec, found, _origin(module_name), _takes(found, by_perturb, spec), by_perturb
    )


def _takes(found: Any, by_perturb: bool, spec: str) -> dict[str, inspect.Parameter]:
    """What may be given beside the model."""
    try:
        _, *rest = inspect.signature(found).parameters.values()
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"attack {spec!r} takes no model: its first argument must be one ({error})"
        ) from error
    if by_perturb:
        more = inspect.signature(found.perturb).parameters.values()
        rest += [one for one in more if one.name not in _OF_A_CALL]
    return {one.name: one for one in rest}


def _imported(module_name: str, spec: str) -> Any:
    """The module; the current folder is searched first, for this import only."""
    here = os.getcwd()
    sys.path.insert(0, here)
    importlib.invalidate_caches()
    try:
        return importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        lost = getattr(error, "name", None) or ""
        if isinstance(error, ModuleNotFoundError) and module_name.startswith(lost):
            raise ConfigError(
                f"attack {spec!r}: there is no module {lost!r}, neither installed nor in {here}"
            ) from error
        raise ConfigError(
            f"attack {spec!r}: importing {module_name} raises {type(error).__name__}: {error}"
        ) from error
    finally:
        sys.path.remove(here)


def _origin(module_name: str) -> str:
    """Package and version, where it is installed; else the module."""
    package = module_name.partition(".")[0]
    try:
        return f"{package} {metadata.version(package)}"
    except metadata.PackageNotFoundError:
        return package
