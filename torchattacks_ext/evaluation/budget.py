"""What would a full run of an expensive attack leave, from a sample of it? Exact interval."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._typing import NORMS, Norm
from ..data.door import (
    as_bounds,
    as_tensor,
    check_images,
    check_label_range,
    check_labels,
)
from ..engines.judge.active import Judge, Judged
from ..engines.zoo.attack import run_attack
from ..errors import ConfigError, InputError, ModelContractError
from ..models.checks import inspect_model
from ..models.logits import LogitsView, Outputs, working_dtype
from ..models.session import first_tensor, session
from ..numerics.arguments import parse_number, parse_whole
from ..numerics.ids import IdBook
from ..numerics.norms import Bounds, clip_, project
from ..numerics.populations.spending import SpendSettings, Spent, spend
from ..results.base.facts import Cost
from ..results.datasets.budget import BudgetedAccuracy, Sampled

AttackFn = Callable[[Tensor, Tensor], Tensor]
"""Maps images (N, ...) and labels (N,) to candidates: a torchattacks attack, MSA, a function."""


def budgeted_accuracy(
    model: Any,
    images: Any,
    labels: Any,
    cheap: AttackFn,
    full: AttackFn,
    *,
    eps: float | str,
    norm: Norm = "Linf",
    scores: Any = None,
    ids: Any = None,
    bounds: Any = (0.0, 1.0),
    outputs: Outputs = "logits",
    batch_size: int = 256,
    **settings: Any,
) -> BudgetedAccuracy:
    """Bound the robust accuracy of `full` on these images without running it on all of them.

    Phase 1 runs `cheap` on every image that is right; what it breaks is broken. Phase 2 runs `full`
    on a part of the survivors: those of the lowest margin after phase 1 one and all, of the others
    a random sample without replacement, whose exact interval is carried to those that were left
    out. The interval misses the number of a full run (wrong, or broken by one of the two) with
    probability at most ``1 - confidence`` over the draw, whatever the attacks are and the model, as
    long as it has one answer to an image.
    Both attacks only propose: candidates are clipped, projected and predicted again here. Attacks
    whose outcome for one image depends on the others in its batch (most that draw at random) would
    not do quite the same in a full run; MSA in its row versions, and attacks without random starts,
    do. `settings["unit"]` is "row", "batch" or "not known" of `full`.

    Args:
        model: Module or callable, pixels (N, ...) to scores (N, K).
        images, labels: (N, ...) pixels in `bounds`, (N,).
        cheap, full: (images, labels) -> candidates; torchattacks attacks, MSA or functions.
        eps, norm, bounds, outputs: as in :func:`evaluate`.
        scores: (N,) numbers that are low where `full` is likely to succeed, say `margin_radius` of
            FIMScore; survivors are then ordered by the mean of the ranks of both.
        ids: (N,) of the images; by default from their content.
        batch_size: rows of one call of the model or of an attack.
        settings: half_width, confidence, method, exhaustive, pilot, strata, combine, chunk, seed of
            :class:`~torchattacks_ext.numerics.populations.spending.SpendSettings`.

    Returns:
        A :class:`BudgetedAccuracy`, whose `sentence` says how many were attacked. Cost: two forward
        row-passes an image and one an attacked image, beside the attacks' own and at most 57 that
        look at the model.

    Raises:
        InputError: images or labels. ConfigError: settings. BackendError: an attack that raises.
        ModelContractError: a model that answers at random or by the batch.

    Example:
        >>> net = torch.nn.Linear(2, 2)
        >>> _ = net.weight.data.copy_(torch.eye(2)), net.bias.data.zero_()
        >>> x = torch.rand(400, 2, generator=torch.Generator().manual_seed(0))
        >>> y = x.argmax(1)
        >>> push = lambda x, y: x + 0.05 * (1 - 2 * torch.nn.functional.one_hot(y, 2))
        >>> half = lambda x, y: x + 0.04 * (1 - 2 * torch.nn.functional.one_hot(y, 2))
        >>> found = budgeted_accuracy(net, x, y, half, push, eps=0.05, half_width=0.04)
        >>> found.full_run, found.lower <= net(push(x, y)).argmax(1).eq(y).float().mean() <= (
        ...     found.upper)
        (False, tensor(True))
    """
    chosen = SpendSettings(**_checked(settings))
    started = time.perf_counter()
    scene = _Scene.of(model, eps, norm, as_bounds(bounds), outputs, batch_size)
    pixels = check_images(images, scene.box, working_dtype(model))
    if not len(pixels):
        raise InputError("there are no images; give at least one")
    wanted = check_labels(labels, len(pixels))
    book = IdBook()
    names = book.given(ids) if ids is not None else None
    if names is None:
        names = book.assign(pixels, wanted, scene.box)
    if len(names) != len(pixels):
        raise InputError(f"{len(pixels)} images but {len(names)} ids; one an image")
    extra = None if scores is None else _column(scores, len(pixels))
    with torch.inference_mode(False), session(model):
        scene.check_model(model, pixels, wanted)
        right = ~scene.judged(pixels, wanted).failed
        rows = torch.from_numpy(np.flatnonzero(right))
        seen = scene.attacked(cheap, pixels, wanted, names, rows, chosen.seed)
        left = rows[torch.from_numpy(~seen.failed)]
        margin = torch.from_numpy(seen.margin[~seen.failed])

        def strike(chosen_rows: NDArray[np.int64]) -> NDArray[np.bool_]:
            at = left[torch.from_numpy(chosen_rows)]
            found = scene.attacked(full, pixels, wanted, names, at, chosen.seed)
            return found.failed.astype(bool)

        order = margin if extra is None else _ranks(margin) + _ranks(extra[left])
        spent = spend(order, names[left], len(pixels), strike, chosen)
    meter = scene.view.meter
    cost = Cost(meter.forward, meter.backward, time.perf_counter() - started)
    facts: dict[str, Any] = {"eps": scene.eps, "norm": norm, "unit": _unit(full)}
    facts |= {"cheap": _name(cheap), "full": _name(full)}
    counts = len(pixels), int((~right).sum()), int(seen.failed.sum())
    return _result(counts, spent, left, chosen, facts, cost)


def _checked(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of phase 2, or ConfigError for one that it does not have."""
    known = SpendSettings.__dataclass_fields__
    odd = sorted(set(settings) - set(known))
    if odd:
        raise ConfigError(f"{odd} are no settings; known are {', '.join(known)}")
    return settings


@dataclass(frozen=True, eq=False)
class _Scene:
    """Model, ball and judge of one measurement."""

    view: LogitsView
    judge: Judge
    eps: float
    norm: Norm
    box: Bounds | None
    batch_size: int
    device: torch.device

    @classmethod
    def of(
        cls,
        model: Any,
        eps: float | str,
        norm: Norm,
        box: Bounds | None,
        outputs: Outputs,
        batch_size: int,
    ) -> _Scene:
        if norm not in NORMS:
            raise ConfigError(f"norm={norm!r} is not one of {NORMS}")
        size = parse_whole(batch_size, "batch_size", 1)
        view, sample = LogitsView(model, outputs), first_tensor(model)
        device = torch.device("cpu") if sample is None else sample.device
        judge = Judge(view, targeted=False, batch_size=size)
        return cls(view, judge, parse_number(eps, "eps"), norm, box, size, device)

    def check_model(self, model: Any, images: Tensor, labels: Tensor) -> None:
        """Raises unless the model has one answer to an image, and a class for each label."""
        few = images[: self.batch_size].to(self.device)
        traits = inspect_model(model, self.view, few, (self.view.outputs, None))
        if traits.randomised or traits.batch_dependent:
            how = "at random" if traits.randomised else "by the batch"
            raise ModelContractError(
                f"the model answers {how}: a full run has no one number that an interval could "
                "hold; measure it whole, by MSA"
            )
        check_label_range(labels, traits.n_classes)

    def judged(self, images: Tensor, labels: Tensor) -> Judged:
        """The answers to images, taken to the device batch by batch."""

        def part(rows: slice) -> tuple[Tensor, Tensor]:
            return images[rows].to(self.device), labels[rows].to(self.device)

        with torch.no_grad():
            found = self.judge.judge(len(images), part, None)
        assert found is not None  # no budget was given
        return found

    def attacked(
        self,
        attack: AttackFn,
        images: Tensor,
        labels: Tensor,
        ids: Tensor,
        rows: Tensor,
        seed: int,
    ) -> Judged:
        """What is left of the rows (R,) after an attack: clipped, projected, predicted again."""
        found = []
        for part in torch.split(rows, self.batch_size) if len(rows) else ():
            clean = images[part].to(self.device)
            wanted = labels[part].to(self.device)
            key = f"{seed}|".encode() + ids[part].numpy().tobytes()
            state = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big")
            raw = run_attack(lambda _: attack, self.view, clean, wanted, state >> 1)
            raw = torch.where(torch.isfinite(raw), raw, clean)
            inside = project(
                clean, clip_(raw.clone(), self.box), self.eps, self.norm, self.box
            )
            found.append(self.judged(inside, wanted))
        return _joined(found)


def _joined(parts: list[Judged]) -> Judged:
    names = ("margin", "failed", "close", "finite", "prediction")
    none = np.zeros(0)
    columns = {
        name: np.concatenate([none, *(getattr(part, name) for part in parts)])
        for name in names
    }
    kinds = {"failed": bool, "close": bool, "finite": bool, "prediction": np.int64}
    return Judged(**{k: v.astype(kinds.get(k, float)) for k, v in columns.items()})


def _column(values: Any, n: int) -> Tensor:
    found = as_tensor(values, "scores").detach().cpu().double()
    if found.shape != (n,):
        raise InputError(f"scores are {tuple(found.shape)}, expected ({n},)")
    return found


def _ranks(values: Tensor) -> Tensor:
    """The rank of each value, NaN first."""
    order = torch.nan_to_num(values.double(), nan=-float("inf")).argsort(stable=True)
    ranks = torch.empty(len(values), dtype=torch.float64)
    ranks[order] = torch.arange(len(values), dtype=torch.float64)
    return ranks


def _name(attack: AttackFn) -> str:
    named = getattr(attack, "attack", None) or getattr(attack, "__name__", None)
    return str(named or type(attack).__name__)


def _unit(attack: AttackFn) -> str:
    """Whether what it finds for a row depends on its batch, where it says so."""
    known = getattr(attack, "unit_is_batch", None)
    return "not known" if known is None else "batch" if known else "row"


def _result(
    counts: tuple[int, int, int],
    spent: Spent,
    left: Tensor,
    settings: SpendSettings,
    facts: dict[str, Any],
    cost: Cost,
) -> BudgetedAccuracy:
    n, wrong, broken = counts
    rows = left.numpy()

    def share(full: float) -> float:
        return (len(rows) - full) / n

    return BudgetedAccuracy(
        n=n,
        wrong=wrong,
        broken_cheap=broken,
        strata=tuple(
            Sampled(size=one.size, attacked=one.drawn, broken=one.broken)
            for one in spent.strata
        ),
        lower=share(spent.upper),
        upper=share(spent.lower),
        estimate=share(min(max(spent.estimate, spent.lower), spent.upper)),
        confidence=settings.confidence,
        combine=spent.combine,
        attacked_rows=tuple(rows[spent.looked].tolist()),
        broken_rows=tuple(rows[spent.broken].tolist()),
        settings=settings.facts() | facts,
        cost=cost,
    )
