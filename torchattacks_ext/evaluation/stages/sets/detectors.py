"""How does a detector of somebody else score images? By its own interface, turned where need be.

A detector is an object with ``predict(images) -> (N,) scores``, as those of pytorch-ood 0.4.0,
which is not a requirement: install it yourself. There a higher score is from outside, as here; of
one that means the opposite, give :class:`Turned`. What has ``requires_fit`` is fitted once,
by ``fit(loader)``, and scores of different fits are never put together: the distance of Mahalanobis
there is of a covariance that is not divided by the number of images, so that its size is that of
the fit.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ....errors import ConfigError, ModelContractError

PASSES = "its forward passes are not counted: it was given with a model of its own"


@dataclass(frozen=True, eq=False)
class Turned:
    """A detector whose higher scores are *inside*; minus its scores are used.

    >>> class Confidence:
    ...     def predict(self, images):
    ...         return images.flatten(1).mean(1)
    >>> turned = Turned(Confidence())
    >>> scored(turned, torch.ones(2, 1, 2, 2)).tolist()
    [-1.0, -1.0]
    """

    detector: Any


def name_of(given: Any) -> str:
    """The class of a detector, or the last part of "module:Class".

    >>> name_of("pytorch_ood.detector:EnergyBased")
    'EnergyBased'
    """
    if isinstance(given, str):
        return given.rpartition(":")[2]
    return type(inner(given)).__name__


def inner(given: Any) -> Any:
    """The detector itself."""
    return given.detector if isinstance(given, Turned) else given


def check_detector(given: Any) -> None:
    """ConfigError unless it is "module:Class" or has `predict`."""
    if isinstance(given, str):
        module, _, name = given.partition(":")
        if not module or not name:
            raise ConfigError(
                f"detector {given!r} is not module:Class, say pytorch_ood.detector:EnergyBased"
            )
        load(given)
    elif isinstance(given, type) or not callable(
        getattr(inner(given), "predict", None)
    ):
        raise ConfigError(
            f"detector {given!r:.60} has no predict(images); give an object of pytorch-ood's "
            "interface, or module:Class"
        )


def load(given: str) -> Any:
    """The class or factory of "module:Class". Raises ConfigError where it cannot be imported."""
    module, _, name = given.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"detector {given!r} cannot be imported: {error}; is it installed beside torchattacks?"
        ) from error
    if not callable(found):
        raise ConfigError(f"detector {given!r} is a {type(found).__name__}, no class")
    return found


def built(given: Any, view: torch.nn.Module) -> Any:
    """The detector; one that is named is made here, around the model as it is seen here."""
    if not isinstance(given, str):
        return given
    try:
        made = load(given)(view)
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(
            f"detector {given!r} cannot be made from the model alone: {type(error).__name__}: "
            f"{error}; make it yourself and give the object"
        ) from error
    check_detector(made)
    return made


def needs_fit(given: Any) -> bool:
    """Whether it must be fitted before it can be asked; a name is imported for it."""
    found = load(given) if isinstance(given, str) else inner(given)
    return bool(getattr(found, "requires_fit", False))


def fit(given: Any, batches: Iterable[tuple[Tensor, Tensor]], device: Any) -> None:
    """Fit it on (images, labels) batches. Raises ConfigError where it has no `fit` or raises."""
    found = inner(given)
    placed(found, device)
    try:
        found.fit(list(batches))
    except Exception as error:
        raise ConfigError(
            f"detector {name_of(given)} cannot be fitted: {type(error).__name__}: {error}"
        ) from error


def placed(detector: Any, device: Any) -> None:
    """Move it, where it can be moved."""
    if callable(getattr(detector, "to", None)):
        detector.to(device)


def scored(given: Any, images: Tensor) -> Tensor:
    """(N,) float64 on the CPU, higher = from outside, nan where its score is none.

    Raises ModelContractError where it raises or gives no column of numbers.
    """
    found, name = inner(given), name_of(given)
    try:
        raw = found.predict(images)
    except Exception as error:
        raise ModelContractError(
            f"detector {name} raised on {tuple(images.shape)}: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(raw, Tensor) or raw.shape != images.shape[:1]:
        seen = tuple(raw.shape) if isinstance(raw, Tensor) else type(raw).__name__
        raise ModelContractError(
            f"detector {name} gave {seen}, expected ({len(images)},): one score an image"
        )
    turned = raw.detach().double().cpu()
    return -turned if isinstance(given, Turned) else turned
