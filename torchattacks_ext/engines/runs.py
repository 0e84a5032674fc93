"""How does one line of a plan become runs of AutoAttack's components, and offers to the ledger?

Runs start from numbers of the samples (seed, id, run), so that what is found does not depend on
how batches are cut; rows that the target has lost are left out of the next run.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..models.meter import Budget, Meter
from ..numerics.gaussian import normals
from ..numerics.norms import norm_of
from ..numerics.streams import uniform
from . import autoattack as aa
from .ledger import AttackSpec, Ledger
from .tap import AllBroken, Tap

TARGET = "target"
"""The name of the target among the models that are attacked."""
_L1_RADII, _L1_SHARES = (3.0, 2.0, 1.0), (0.3, 0.3, 0.4)


@dataclass
class AutoAttackEngine:
    """Drives AutoAttack's components, one run at a time, over one ledger.

    models: name -> module, pixels to logits; the target under "target". ids (B,): of the rows.
    n_classes: K. probe_every: each so many-th query on a surrogate is offered to the target, 0 for
    none. meter: counts the row-passes of all models. budget: a run that does not fit is not begun.
    """

    models: Mapping[str, nn.Module]
    ids: Tensor
    n_classes: int
    seed: int
    meter: Meter
    probe_every: int = 5
    name: str = "autoattack"
    skipped: set[str] = field(default_factory=set)
    budget: Budget | None = None

    def run(self, surrogate: str, spec: AttackSpec, ledger: Ledger) -> None:
        """All runs of one line on one model. What was skipped, and why, stands in `skipped`."""
        source = f"{surrogate}/{spec.label}"
        with self._booked(source, ledger):
            if spec.kind == "noise":
                if self._affords(len(ledger.rows()), surrogate, spec):
                    self._noise(source, spec, ledger)
                return
            tap = self._tap(surrogate, source, ledger)
            for run in self._runs(tap, surrogate, spec, ledger):
                rows = self._rows(surrogate, spec, ledger)
                if not len(rows) or not self._affords(len(rows), surrogate, spec):
                    break
                ledger.entry(source).tried += len(rows)
                for part, eps in _by_radius(ledger, rows, spec.kind):
                    tap.watch(part)
                    with contextlib.suppress(AllBroken):
                        run(part, eps)
                    ledger.entry(source).fooled += tap.n_fooled
                    tap.rest()
            if tap.surrogate.blind:
                self.skipped.add(f"{surrogate} gives no gradient to attack it by")

    def _rows(self, surrogate: str, spec: AttackSpec, ledger: Ledger) -> Tensor:
        """Rows that this run is for: alive, inside the gate, and, on="best", led by this model."""
        rows = ledger.rows(spec.gate)
        if spec.on != "best" or surrogate == TARGET:
            return rows
        led = torch.from_numpy(ledger.led_by(surrogate)).to(rows.device)
        return rows[led[rows]]

    def _affords(self, n_rows: int, surrogate: str, spec: AttackSpec) -> bool:
        """Whether the budget has room for one run, its offers and rows decided twice included."""
        if self.budget is None:
            return True
        asked = 2 / self.probe_every if self.probe_every and surrogate != TARGET else 0
        each = {"noise": 2.0, "square": 1.0}.get(spec.kind, 1 + asked)
        if spec.kind.startswith("fab"):
            each *= 2
        return self.budget.allows(int(n_rows * (each * (spec.steps + 1) + 6)))

    @contextlib.contextmanager
    def _booked(self, source: str, ledger: Ledger) -> Iterator[None]:
        entry, before = ledger.entry(source), self.meter.snapshot()
        started = time.perf_counter()
        yield
        spent = self.meter.since(before)
        entry.forward += spent.forward
        entry.backward += spent.backward
        entry.seconds += time.perf_counter() - started

    def _tap(self, surrogate: str, source: str, ledger: Ledger) -> Tap:
        is_target = surrogate == TARGET
        return Tap(self.models[surrogate], ledger, source, self.probe_every, is_target)

    def _runs(
        self, tap: Tap, surrogate: str, spec: AttackSpec, ledger: Ledger
    ) -> Iterator[Callable[[Tensor, Any], None]]:
        """One function of (rows, radius) for each restart and target."""
        if spec.kind == "square":
            yield lambda rows, eps: self._square(tap, spec, ledger, rows, eps)
        elif spec.kind in ("apgd", "warm"):
            for number in range(spec.restarts):
                yield lambda rows, eps, number=number: self._apgd(  # type: ignore[misc]
                    tap, surrogate, spec, ledger, rows, eps, number, None
                )
        elif spec.kind == "apgd-t":
            for rank in range(2, aa.n_targets(spec.targets, self.n_classes) + 2):
                yield lambda rows, eps, rank=rank: self._apgd(  # type: ignore[misc]
                    tap, surrogate, spec, ledger, rows, eps, rank, rank
                )
        else:
            last = aa.n_targets(spec.targets, self.n_classes) + 2
            for rank in range(2, last) if spec.kind == "fab-t" else (0,):
                yield lambda rows, eps, rank=rank: self._fab(  # type: ignore[misc]
                    tap, spec, ledger, rows, eps, rank
                )

    # ------------------------------------------------------------------ the kinds
    def _noise(self, source: str, spec: AttackSpec, ledger: Ledger) -> None:
        """`steps` corners of the ball (Linf), or points of its sphere."""
        for number in range(spec.steps):
            rows = ledger.rows(spec.gate)
            if not len(rows):
                return
            ledger.entry(source).tried += len(rows) * (number == 0)
            images = ledger.images[rows]
            start = self._start(images, rows, ledger, f"noise/{number}")
            if ledger.norm == "Linf":
                radius = _column(ledger.radius(rows), images)
                start = images + radius * torch.sign(start - images)
            ledger.offer(rows, start, source)

    def _apgd(
        self,
        tap: Tap,
        surrogate: str,
        spec: AttackSpec,
        ledger: Ledger,
        rows: Tensor,
        eps: Any,
        number: int,
        rank: int | None,
    ) -> None:
        """One APGD run: from a sample's own start, or (warm) from its best candidate."""
        loss = spec.loss
        if self.n_classes < 3 and loss == "dlr":
            loss = "margin"
        if rank is not None:
            loss = "ce" if self.n_classes < 4 else "dlr"
        images, labels = ledger.images[rows].contiguous(), ledger.labels[rows]
        attack = aa.make_apgd(
            tap,
            eps,
            ledger.norm,
            spec.steps,
            loss,
            images.device,
            targeted=rank is not None,
        )
        attack.init_hyperparam(images)
        if rank is not None:
            with torch.no_grad():
                scores = tap.surrogate(images)
            attack.y_target = _ranked(scores, labels, rank)
        start = ledger.best[rows]
        if spec.kind != "warm" or number:
            start = self._start(images, rows, ledger, f"{tap.source}/{number}")
        best, _, _, adversarial = _apgd_run(attack, images, labels, start)
        for found in (adversarial, best):
            ledger.offer(rows, found, tap.source)

    def _fab(
        self,
        tap: Tap,
        spec: AttackSpec,
        ledger: Ledger,
        rows: Tensor,
        eps: Any,
        rank: int,
    ) -> None:
        """One FAB run on the rows that the surrogate gets right (FAB leaves others alone)."""
        with torch.no_grad():
            right = tap.surrogate(ledger.images[rows]).argmax(1)
        rows = rows[right == ledger.labels[rows]]
        if not len(rows):
            return
        tap.watch(rows)
        images, labels = ledger.images[rows].contiguous(), ledger.labels[rows]
        attack = aa.make_fab(tap, eps, ledger.norm, spec.steps, images.device)
        attack.targeted, attack.target_class = rank > 0, max(rank, 2)
        found = attack.attack_single_run(
            images, labels, use_rand_start=False, is_targeted=rank > 0
        )
        ledger.offer(rows, found, tap.source)

    def _square(
        self, tap: Tap, spec: AttackSpec, ledger: Ledger, rows: Tensor, eps: Any
    ) -> None:
        """Square, whose own path is not watched: it drops rows as it goes."""
        tap.rest()
        why = aa.square_misfit(ledger.images, ledger.norm)
        if why:
            self.skipped.add(why)
            return
        images, labels = ledger.images[rows].contiguous(), ledger.labels[rows]
        torch.manual_seed(self.seed)  # of the fork around the attack
        attack = aa.make_square(
            tap,
            eps,
            ledger.norm,
            spec.steps,
            images.device,
            seed=self.seed,
            ids=self.ids[rows],
        )
        attack.init_hyperparam(images)
        _, found = attack.attack_single_run(images, labels)
        ledger.offer(rows, found, tap.source)

    def _start(
        self, images: Tensor, rows: Tensor, ledger: Ledger, purpose: str
    ) -> Tensor:
        """A start of each sample on the surface of its ball, as AutoAttack draws it."""
        size = images[0].numel()
        ids = self.ids[rows]
        numbers = uniform(self.seed, ids, f"msa/{purpose}", 0, size + size % 2)
        if ledger.norm == "Linf":
            change = (2 * numbers[:, :size] - 1).reshape(images.shape)
        else:
            change = normals(numbers)[:, :size].reshape(images.shape)
        change = change.to(images.dtype)
        radius = ledger.radius(rows)
        if ledger.norm == "L1" and isinstance(radius, float):
            return images + change + aa.l1_projection(images, change, radius)
        length = norm_of(change, ledger.norm).clamp_min(1e-12)
        return images + change * _column(radius / length, images)


def _column(values: float | Tensor, like: Tensor) -> float | Tensor:
    """(M,) as (M, 1, ...), a float as it is."""
    if not isinstance(values, Tensor):
        return values
    return values.to(like.dtype).reshape(-1, *(1,) * (like.dim() - 1))


def _ranked(scores: Tensor, labels: Tensor, rank: int) -> Tensor:
    """The class of the rank-th largest score, as AutoAttack takes it; never the label."""
    order = scores.argsort(dim=1)
    found = order[:, -rank]
    # where the surrogate puts the label at that rank its first choice stands in
    return torch.where(found == labels, order[:, -1], found)


def _apgd_run(
    attack: object, images: Tensor, labels: Tensor, start: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """attack_single_run; in L1 with AutoAttack's three shrinking radii."""
    run = attack.attack_single_run  # type: ignore[attr-defined]
    if attack.norm != "L1":  # type: ignore[attr-defined]
        return run(images, labels, x_init=start)  # type: ignore[no-any-return]
    eps, steps = attack.eps, attack.n_iter  # type: ignore[attr-defined]
    parts = [-(-int(10 * share * steps) // 10) for share in _L1_SHARES[:2]]
    found = (start, labels, labels, start)
    for scale, count in zip(_L1_RADII, [*parts, steps - sum(parts)]):
        attack.eps, attack.n_iter = scale * eps, max(count, 1)  # type: ignore[attr-defined]
        start = start + aa.l1_projection(images, start - images, scale * eps)
        found = run(images, labels, x_init=start)
        start = found[0]
    return found


def _by_radius(ledger: Ledger, rows: Tensor, kind: str) -> Iterator[tuple[Tensor, Any]]:
    """The rows with their radius: all of them with a column where the attack takes one, or apart.

    Square takes one number, and so does APGD's projection in L1.
    """
    if not isinstance(ledger.eps, Tensor):
        yield rows, float(ledger.eps)
        return
    radii = ledger.eps[rows]
    if kind in ("fab", "fab-t") or (kind != "square" and ledger.norm != "L1"):
        yield rows, _column(radii, ledger.images)
        return
    for value in sorted(set(radii.tolist())):
        yield rows[radii == value], float(value)
