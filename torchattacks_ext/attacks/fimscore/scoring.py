"""How is one batch scored? By the method that was asked for, at the images or around them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ..._typing import LogitsFn
from ...data.stream import Batch
from ...errors import BackendError, InputError
from ...models.jvp import model_action
from ...numerics.fisher.ball import cube_fisher
from ...numerics.fisher.top import top_fisher
from .scored import Scored
from .settings import FIMSettings
from .smooth import score_smoothed


def score(settings: FIMSettings, view: LogitsFn, images: Tensor, ids: Tensor) -> Scored:
    """The score of a batch by a method with gradients; `action.passes` says what it took.

    A model that gives J^T w but no J v keeps the exact method; the Linf value is then missing,
    as it is where `kl` is off. Runs inside a session of the model, as all that takes a view.
    """
    if settings.smooth is not None and len(images):
        return score_smoothed(settings, view, images, ids)
    action = model_action(view, images, settings.jvp)
    method: Any = settings.method
    found = top_fisher(action, method, tol=settings.tol, ids=ids)
    if not settings.kl:
        return Scored(action, found, None)
    try:
        cube = cube_fisher(action, found.u1, found.log_lam, found.log_cube)
    except BackendError as error:
        return Scored(action, found, None, why=str(error))
    return Scored(action, found, cube)


def taken(batch: Batch, places: Tensor) -> Batch:
    """Some rows of a batch, by their places in it, without groups."""
    rows = places.to(batch.images.device)
    labels = None if batch.labels is None else batch.labels[rows]
    ids = batch.ids[places.to(batch.ids.device)]
    return Batch(ids, batch.images[rows], labels, batch.index[places])


def check_same_size(parts: Sequence[Tensor], images: Tensor) -> None:
    """Raises InputError where a batch has images of another size than the parts before it."""
    if parts and parts[0].shape[1:] != images.shape[1:]:
        raise InputError(
            f"a batch has images of shape {tuple(images.shape[1:])}, the first one of "
            f"{tuple(parts[0].shape[1:])}: directions are one tensor, so that all images must have "
            "one size; ask for each size by itself"
        )
