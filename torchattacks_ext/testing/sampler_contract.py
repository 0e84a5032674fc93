"""Does a sampler keep its promises? The whole contract as one reusable call."""

from __future__ import annotations

import inspect
import json
import pickle
import random
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from ..engines.judge.active import keyed
from ..numerics.gaussian import normals
from ..numerics.norms import beyond, bounds_for, norm_of
from ..numerics.streams import uniform
from ..samplers.base import Sampler
from .props import example_images

ALARM = 1e-9
"""Chance of each statistical check to fail although the law is right."""
N_LAW = 2000
"""Draws of each of the two samples that are compared."""


def check_sampler(
    sampler: Sampler, *, shape: tuple[int, ...] = (3, 8, 8), n: int = 6
) -> tuple[str, ...]:
    """Run the whole contract on a sampler; returns the names of its checks.

    shape: of one image that the law can perturb; n: number of images, >= 2. The images are
    8-bit ones, stretched to the ``bounds`` of the law if it has any. All uniform numbers are
    keyed as in a measurement. Promises: settings in JSON types that hold every argument;
    draws like the images, finite, in the bounds and in the ball; the same numbers give the
    same draw and others another one; a row alone, in another order or next to other rows
    keeps its bits; the input and the global generators are left alone; float64, half and
    empty batches and inference mode work. A law in a ball whose draws are 8-bit images must
    round, not cut off: mean change 0 at mid-grey. ``from_latent``, where there is one, must
    have the law of ``sample``: Kolmogorov-Smirnov on four statistics of 2,000 draws each.

    Raises AssertionError naming the first broken promise. The last two checks fail by luck
    once in 1e9. Cost: about 4,000 draws, less than a second for small images.

    >>> from torchattacks_ext.samplers import LinfUniform
    >>> len(check_sampler(LinfUniform(8 / 255), shape=(3, 5, 5)))
    11
    """
    images = _stretched(sampler, example_images(n, shape))
    checks = (
        _settings,
        _draws,
        _numbers,
        _rows,
        _generators,
        _bounds,
        _ball,
        _dtypes,
        _modes,
        _eight_bit,
        _latent,
    )
    for check in checks:
        check(sampler, images)
    return tuple(check.__name__.strip("_") for check in checks)


def _require(truth: object, claim: str) -> None:
    if not truth:
        raise AssertionError(f"the contract of a sampler is broken: {claim}")


def _stretched(sampler: Sampler, images: Tensor) -> Tensor:
    bounds = getattr(sampler, "bounds", None)
    if bounds is None:
        return images
    low, high = bounds_for(bounds, images)
    return low + images * (high - low)


def _draw(sampler: Sampler, images: Tensor, ids: Any = None, draw: Any = 0) -> Tensor:
    """One draw an image, with the numbers that a measurement with seed 0 would give it."""
    ids = torch.arange(len(images)) if ids is None else ids
    return sampler.sample(images, keyed(0, ids, draw, sampler.name))


def _many(sampler: Sampler, images: Tensor, n_draws: int = 50) -> tuple[Tensor, Tensor]:
    """(images, draws) of `n_draws` draws of every image."""
    ids = torch.arange(len(images)).repeat(n_draws)
    number = torch.arange(n_draws).repeat_interleave(len(images))
    clean = images.repeat(n_draws, *(1,) * (images.ndim - 1))
    return clean, _draw(sampler, clean, ids, number)


def _settings(sampler: Sampler, images: Tensor) -> None:
    _require(isinstance(getattr(sampler, "name", None), str), "name is a string")
    settings = sampler.settings()
    try:
        again = json.loads(json.dumps(settings, allow_nan=False))
    except (TypeError, ValueError):
        again = None
    _require(again == settings, "settings are JSON types")
    known = inspect.signature(type(sampler).__init__).parameters.values()
    stars = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    wanted = {p.name for p in known if p.kind not in stars} - {"self"}
    missing = sorted((wanted | {"name", "norm", "eps"}) - set(settings))
    _require(not missing, f"settings hold every argument, but not {missing}")


def _draws(sampler: Sampler, images: Tensor) -> None:
    before = images.clone()
    found = _draw(sampler, images)
    _require(torch.equal(images, before), "a draw leaves its input as it is")
    _require(found.shape == images.shape, "a draw keeps the shape")
    _require(found.dtype == images.dtype, "a draw keeps the dtype")
    _require(found.device == images.device, "a draw keeps the device")
    found.zero_()
    _require(torch.equal(images, before), "a draw shares no memory with its input")
    _require(bool(_many(sampler, images)[1].isfinite().all()), "draws are finite")


def _numbers(sampler: Sampler, images: Tensor) -> None:
    first = _draw(sampler, images)
    _require(torch.equal(first, _draw(sampler, images)), "same numbers, same draw")
    other = _draw(sampler, images, draw=1)
    _require(not torch.equal(first, other), "another draw number, another draw")
    one = images[:1].expand_as(images).contiguous()
    found = _draw(sampler, one)
    _require(
        not torch.equal(found, found[:1].expand_as(found)), "other ids, other draws"
    )


def _rows(sampler: Sampler, images: Tensor) -> None:
    n = len(images)
    whole, ids = _draw(sampler, images), torch.arange(n)
    for i in range(n):
        alone = _draw(sampler, images[i : i + 1], ids[i : i + 1])
        _require(
            torch.equal(alone[0], whole[i]),
            "rows are independent: a row alone is the same",
        )
    back = ids.flip(0)
    found = _draw(sampler, images[back], back)
    _require(torch.equal(found[back], whole), "rows are independent of their order")
    many = _many(sampler, images)[1]
    _require(
        torch.equal(many[:n], whole), "rows are independent of the size of the batch"
    )


def _generators(sampler: Sampler, images: Tensor) -> None:
    def states() -> bytes:
        parts = torch.get_rng_state().tolist(), np.random.get_state(), random.getstate()
        return pickle.dumps(parts)

    before = states()
    _draw(sampler, images)
    _require(
        states() == before, "torch's, numpy's and Python's generators are untouched"
    )


def _bounds(sampler: Sampler, images: Tensor) -> None:
    bounds = getattr(sampler, "bounds", None)
    if bounds is None:
        return
    for found in (_many(sampler, images)[1], _draw(sampler, images.half())):
        low, high = bounds_for(bounds, found)
        inside = bool((found >= low).all() and (found <= high).all())
        _require(inside, f"draws stay in the bounds {bounds}")


def _ball(sampler: Sampler, images: Tensor) -> None:
    _require(
        (sampler.norm is None) or sampler.eps is not None, "a norm comes with an eps"
    )
    if sampler.norm is None or sampler.eps is None:
        return
    for pixels in (images, images.double()):
        clean, found = _many(sampler, pixels)
        far = float(norm_of((found.double() - clean.double()), sampler.norm).max())
        outside = beyond(clean, found, sampler.eps, sampler.norm)
        _require(
            not bool(outside.any()),
            f"draws stay in the ball: {sampler.norm} {far:g} > {sampler.eps:g}",
        )


def _dtypes(sampler: Sampler, images: Tensor) -> None:
    for dtype in (torch.float64, torch.float16, torch.bfloat16):
        found = _draw(sampler, images.to(dtype))
        _require(found.dtype == dtype, f"a draw keeps the dtype {dtype}")
        _require(bool(found.isfinite().all()), f"draws of {dtype} are finite")


def _modes(sampler: Sampler, images: Tensor) -> None:
    usual = _draw(sampler, images)
    with torch.inference_mode():
        found = _draw(sampler, images.clone())
    _require(torch.equal(found, usual), "works under inference_mode")
    none = _draw(sampler, images[:0])
    _require(none.shape == images[:0].shape, "an empty batch is empty")


def _eight_bit(sampler: Sampler, images: Tensor) -> None:
    if sampler.norm is None or getattr(sampler, "bounds", None) is None:
        return
    grid = torch.tensor([127.0, 128.0]).repeat(N_LAW // 2) / 255
    grey = grid.view(-1, *(1,) * (images.ndim - 1)).expand(-1, *images.shape[1:])
    found = _draw(sampler, grey.contiguous()) * 255
    if not torch.allclose(found, found.round(), rtol=0, atol=1e-3):
        return
    # 127 and 128 mirror each other, so that together no bound favours a side.
    shift = (found - grey * 255).flatten(1).double().mean(1).numpy()
    spread = float(shift.std(ddof=1)) / len(shift) ** 0.5
    limit = -float(stats.norm.ppf(ALARM / 2)) * spread + 1e-4
    _require(
        abs(shift.mean()) <= limit,
        f"8-bit draws are rounded, not cut off: mean change {shift.mean():.3f}/255 at mid-grey",
    )


def _latent(sampler: Sampler, images: Tensor) -> None:
    if not sampler.has_latent:
        return
    ids = torch.arange(N_LAW)
    clean = images[:1].expand(N_LAW, *images.shape[1:]).contiguous()
    size = sampler.latent_size(tuple(images.shape[1:]))
    z = normals(uniform(1, ids, "latent", 0, size + size % 2))[:, :size]
    before = clean.clone()
    found = sampler.from_latent(z, clean)
    _require(torch.equal(clean, before), "from_latent leaves its input as it is")
    _require(
        found.shape == clean.shape and found.dtype == clean.dtype,
        "from_latent keeps shape and dtype",
    )
    ours, theirs = (_statistics(clean, x) for x in (_draw(sampler, clean, ids), found))
    for name, values in ours.items():
        p = stats.ks_2samp(values, theirs[name], method="asymp").pvalue
        _require(
            p >= ALARM / len(ours),
            f"from_latent has the law of sample: {name} differs (p = {p:.1g})",
        )


def _statistics(clean: Tensor, drawn: Tensor) -> dict[str, Any]:
    change = (drawn.double() - clean.double()).flatten(1)
    found = {
        "the change of the first pixel": change[:, 0],
        "the mean change": change.mean(1),
        "the largest change": change.abs().amax(1),
        "the length of the change": change.norm(dim=1),
    }
    # The two ways round differently: values that both pile up must stay equal.
    return {name: values.mul(1e6).round().numpy() for name, values in found.items()}
