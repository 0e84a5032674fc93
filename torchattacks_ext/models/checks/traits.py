"""Is the model a fixed map from one image to one answer? Randomised and coupled ones are found.

The tests follow AutoAttack's check (five forwards, change of the normalised logits) and add what
it does not see: answers that depend on the other rows of the batch, random numbers that are drawn
though no answer changed, and rows of one call that share a random draw.
"""

from __future__ import annotations

import contextlib
import weakref
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..._typing import LogitsFn
from ...errors import ModelContractError
from ...numerics import coupling
from ...numerics.generators import Watch
from ...numerics.losses import unmasked
from ...results.base.facts import Flag
from ..modes import modes_of
from ..scores import Key, Outputs, refuse_no_probs
from ..session import rounding_of

N_ROWS = 8
N_REPEATS = 5
RANDOM_CHANGE = 1e-4
BATCH_CHANGE = 1e-3
GAP = 1.0
"""How far masked classes (-inf) stand below the others: a large number would hide changes."""


@dataclass(frozen=True)
class ModelTraits:
    """What was seen on a few rows; `n_classes` is the number of columns K of the logits.

    draws: a generator of random numbers moved, whether or not an answer changed. shares_draws: rows
    of one call share a random draw. Equal are traits of equal answers.
    """

    n_classes: int
    randomised: bool
    batch_dependent: bool
    looks_like_probs: bool
    draws: bool = field(default=False, compare=False)
    shares_draws: bool = field(default=False, compare=False)

    def flags(self) -> tuple[Flag, ...]:
        """One flag for each trait that makes numbers doubtful."""
        found = []
        if self.randomised:
            found.append(
                Flag(
                    "randomised_model",
                    "the model answers differently when asked again: counts and margins include "
                    "its own randomness, and a replayed draw may not fail again",
                )
            )
        elif self.draws:
            found.append(
                Flag(
                    "draws_random_numbers",
                    "the model drew random numbers, though no answer changed: what they change, "
                    "and how seldom, is not known, so it is treated as randomised",
                )
            )
        if self.shares_draws:
            found.append(
                Flag(
                    "shared_model_draws",
                    "rows of one forward call share a random draw of the model: within a call they "
                    "are not independent",
                )
            )
        if self.batch_dependent:
            found.append(
                Flag(
                    "batch_dependent_model",
                    "an answer depends on the other rows of the batch: rows are not independent, "
                    "and numbers hold only for this batch size and order",
                )
            )
        if self.looks_like_probs:
            found.append(
                Flag(
                    "looks_like_probs",
                    "the model's outputs are rows of probabilities; if they are, say "
                    'outputs="probs", or margins and losses mean something else',
                )
            )
        return tuple(found)


_cache: weakref.WeakKeyDictionary[Any, tuple[Any, ModelTraits]] = (
    weakref.WeakKeyDictionary()
)


def parameter_version(model: object) -> tuple[int, ...] | None:
    """Changes whenever a parameter, buffer or mode is; None where torch does not count that.

    Writes through `.data` are not counted by torch, nor are those behind a callable that is no
    Module (a closure may hold any network).
    """
    if not isinstance(model, torch.nn.Module):
        return None
    tensors = [*model.parameters(), *model.buffers()]
    try:
        # torch's count of writes in place; it has no public name
        writes = sum(tensor._version for tensor in tensors)
        places = sum(tensor.data_ptr() for tensor in tensors)
    except RuntimeError:  # inference tensors keep no version
        return None
    modes = hash(tuple(mode for _, mode in modes_of(model)))
    return (len(tensors), writes, places, modes)


def look_cost(n: int) -> int:
    """Forward row-passes of a look at `n` images when nothing is cached, and the model is fixed."""
    rows = min(n, N_ROWS)
    return N_REPEATS * rows + (2 * rows + 1 if rows > 1 else 0)


def random_look_cost(n: int) -> int:
    """The same where the model turns out to be randomised.

    >>> look_cost(8), random_look_cost(8)
    (57, 100)
    """
    rows = min(n, N_ROWS)
    copies = coupling.N_CALLS * coupling.N_COPIES
    return N_REPEATS * rows + copies + coupling.N_ALONE * (rows > 1)


def inspect_model(
    model: object,
    view: LogitsFn,
    images: Tensor,
    reading: tuple[Outputs, Key] = ("logits", None),
) -> ModelTraits:
    """Look at `model` through `view` (images to logits) on up to 8 rows of images (N, ...), N >= 1.

    reading: `outputs` and `output_key` of the view. Runs inside a session. Cached per Module and
    parameter version. Cost when not cached: at most 8 x 5 + 9 + 8 = 57 forward row-passes,
    8 x 5 + 6 x 8 + 12 = 100 for a randomised model. Models in half precision get the slack of their
    dtype.
    """
    version = parameter_version(model)
    key = (version, reading, tuple(images.shape[1:]), len(images) > 1)
    try:
        known = _cache.get(model)
    except (
        TypeError
    ):  # callables that cannot be weakly referenced are looked at each time
        known = None
    if known is not None and version is not None and known[0] == key:
        return known[1]
    # not inference_mode: tensors that a model computes once and keeps must allow gradients later
    with torch.no_grad():
        few = images[:N_ROWS].contiguous()
        traits = _look(model, view, few, reading[0], rounding_of(model))
    with contextlib.suppress(TypeError):
        _cache[model] = (key, traits)
    return traits


def _look(
    model: object, view: LogitsFn, rows: Tensor, outputs: str, slack: float
) -> ModelTraits:
    first = unmasked(view(rows), GAP)
    # after the first call: what a model sets up once, and a seed that it plants anew each time,
    # move no generator between the calls that follow
    watch = Watch(model)
    others = [unmasked(view(rows), GAP) for _ in range(N_REPEATS - 1)]
    draws = watch.moved()
    if outputs == "probs":
        refuse_no_probs(first, slack)
    limit = max(RANDOM_CHANGE, slack)
    randomised = any(_changed(first, other, limit) for other in others)
    if randomised or draws:
        mixed = torch.stack([answer[0] for answer in (first, *others)])
        shares, coupled = _random_rows(view, rows, mixed, limit)
    else:
        shares, coupled = False, len(rows) > 1 and _coupled(view, rows, first, slack)
    return ModelTraits(
        n_classes=first.shape[1],
        randomised=randomised,
        batch_dependent=coupled,
        looks_like_probs=outputs == "logits" and _are_probs(first, max(1e-3, slack)),
        draws=draws,
        shares_draws=shares,
    )


def _random_rows(
    view: LogitsFn, rows: Tensor, mixed: Tensor, limit: float
) -> tuple[bool, bool]:
    """Whether rows of one call share a random draw, and whether company changes their answers.

    mixed: (5, K), answers to the first row beside the others.
    """
    copies = rows[:1].expand(coupling.N_COPIES, *rows.shape[1:]).contiguous()
    calls = torch.stack([unmasked(view(copies), GAP) for _ in range(coupling.N_CALLS)])
    least = limit * float(mixed.norm(dim=1).max())
    shares = coupling.shares_draws(calls, least)
    if len(rows) == 1:
        return shares, False
    try:
        single = [unmasked(view(rows[:1]), GAP) for _ in range(coupling.N_ALONE)]
    except ModelContractError:  # it takes no single rows to hold against
        return shares, False
    number = torch.arange(coupling.N_CALLS)
    company = torch.cat([mixed, calls[number, number % coupling.N_COPIES]])
    return shares, coupling.stands_apart(torch.cat(single), company, least)


def _coupled(view: LogitsFn, rows: Tensor, first: Tensor, slack: float) -> bool:
    """Do rows answer differently alone, or in another order beside one row more?

    In that order other rows are the first and the last one, and none has its neighbour before it.
    """
    order = torch.arange(len(rows), device=rows.device).flip(0)
    order = torch.cat([order[:1], order])  # the last row twice
    alone = torch.cat([view(row[None]) for row in rows])
    return differ(first[order], view(rows[order]), slack) or differ(first, alone, slack)


def differ(first: Tensor, other: Tensor, slack: float = 0.0) -> bool:
    """Do two answers (N, K) to the same rows differ by more than rounding may?

    slack: share of the size of a row's logits that the model's rounding may move.

    >>> differ(torch.eye(2), torch.eye(2) + 1e-5), differ(torch.eye(2), torch.eye(2).flip(0))
    (False, True)
    """
    limit = max(BATCH_CHANGE, slack)
    return _changed(unmasked(first, GAP), unmasked(other, GAP), limit)


def _changed(first: Tensor, other: Tensor, limit: float) -> bool:
    """Did a row's logits move by more than `limit` of their own size, or a clear argmax flip?"""
    size = first.norm(dim=1).clamp_min(1e-12)
    moved = (first - other).norm(dim=1) / size > limit
    top = first.topk(2, dim=1).values
    # near ties flip by rounding: at most RANDOM_CHANGE, or what a short dtype loses
    tie = limit if limit > BATCH_CHANGE else RANDOM_CHANGE
    clear = (top[:, 0] - top[:, 1]) > tie * first.abs().amax(1)
    flipped = (first.argmax(1) != other.argmax(1)) & clear
    return bool((moved | flipped).any())


def _are_probs(logits: Tensor, slack: float) -> bool:
    """Rows in [0, 1] that sum to 1; or one column in [0, 1], which has become (0, z)."""
    if logits.shape[1] < 2:
        return False
    inside = (logits >= 0).all() & (logits <= 1).all()
    whole = ((logits.sum(1) - 1).abs() < slack).all()
    several = len(logits) > 1  # a single row says too little
    single = several and logits.shape[1] == 2 and not bool(logits[:, 0].any())
    return bool(inside & (whole | single))
