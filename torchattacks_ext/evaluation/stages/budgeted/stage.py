"""What would an expensive attack leave? Exact bounds from a sample of what a cheap one left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...._typing import Status, Verdict
from ....data.stream import Batch
from ....engines.judge.active import Judged
from ....errors import ConfigError, ModelContractError
from ....numerics.populations.spending import IntArray, SpendSettings, spend
from ....results.attack import AttackResult
from ....results.base.columns import Rows, Table
from ....results.base.result import Result
from ....results.datasets.budgeted import NONE, Budgeted
from ...plan import Plan
from ..base import RowStage, Shared, StageRows, Unit
from ..clean import labels_of
from ..probing import origin_of, refuse_unknown
from .named import facts, inner, usual
from .parts import in_parts, short_flag
from .pool import Pool

SPENDING = tuple(f.name for f in fields(SpendSettings) if f.name != "seed")
ARGUMENTS = ("attack", "cheap", *SPENDING)
_LOW = 2**53 - 1


class BudgetedStage(RowStage):
    """A cheap attack on every image, the full one on some of what is left; an exact interval.

    Arguments: attack, the full one: "msa", "autoattack" or an attack of torchattacks, by name or as
    a dict with its arguments (default "autoattack"); cheap, the same for the first, or a list, each
    of which gets what those before it left (default PGD with 20 steps, then in Linf the own
    engine's version fast, which sees through masked gradients); half_width,
    confidence, method, exhaustive, pilot, strata, combine, chunk, as in
    :func:`~torchattacks_ext.budgeted_accuracy`. The draw is decided by the plan's seed and the ids.

    What survives the cheap attack is kept until the end, as 8-bit numbers where nothing is lost:
    one byte a pixel (four otherwise). Raises ConfigError for others and for values outside their
    domains; ModelContractError for a model that answers at random or by the batch.
    """

    kind = "budgeted"
    guarantee = (
        "interval for what a full run would leave of these images: wrong with probability at most "
        "1 - confidence over the draw of the attacked ones; not a full run"
    )
    closes = True

    def __init__(self, label: str, plan: Plan, settings: Mapping[str, Any]) -> None:
        super().__init__(label, plan, settings)
        refuse_unknown("budgeted", settings, ARGUMENTS)
        chosen = {k: v for k, v in settings.items() if k in SPENDING}
        self._spending = SpendSettings(seed=plan.seed, **chosen)
        given = settings.get("cheap", usual(plan))
        listed = list(given) if isinstance(given, (list, tuple)) else [given]
        if not listed:
            raise ConfigError("budgeted: cheap=[] must name at least one attack")
        self._cheap = [inner(f"{label}: cheap", one, plan) for one in listed]
        self._full = inner(f"{label}: full", settings.get("attack", "autoattack"), plan)
        own = self._spending.facts()
        own.pop("seed")
        self.settings = {
            "attack": facts(self._full),
            "cheap": [facts(one) for one in self._cheap],
            **own,
        }
        self._pool, self._cut = Pool(), False
        units = {stage.unit for stage in (*self._cheap, self._full)}
        mixed: tuple[Unit, ...] = ("batch", "group", "row")
        self.unit = next(unit for unit in mixed if unit in units)
        every = *self._cheap, self._full
        self.needs_gradient = any(stage.needs_gradient for stage in every)

    @property
    def cheap(self) -> tuple[RowStage, ...]:
        """The stages before the full attack; the first runs on every image."""
        return tuple(self._cheap)

    @property
    def full(self) -> RowStage:
        """The stage that runs on a part of what is left."""
        return self._full

    @property
    def spending(self) -> SpendSettings:
        """How the budget is spent."""
        return self._spending

    @property
    def notes(self) -> tuple[str, ...]:
        """Those of the full attack."""
        return self._full.notes

    def rows(self, batch: Batch, shared: Shared) -> StageRows:
        """The cheap attack; rows that are wrong cost nothing."""
        traits = shared.traits
        if traits is not None and (traits.randomised or traits.batch_dependent):
            how = "at random" if traits.randomised else "by the batch"
            raise ModelContractError(
                f"the model answers {how}: a full run has no one number that an interval could "
                "hold; measure it whole, by the stage msa"
            )
        result, failure = None, None
        for stage in self._cheap:
            if result is not None:
                shared = shared.on(_left_of(result))
            found = stage.rows(batch, shared)
            assert isinstance(
                found.result, AttackResult
            )  # so are all that may be named
            failure = failure or found.failure
            if result is None:
                result = self._begin(batch, shared, found.result)
            else:
                result = _weaker(result, found.result)
        assert result is not None
        self._keep(batch, result)
        return StageRows(result, failure=failure)

    @property
    def _at_once(self) -> int:
        """Rows that the full attack gets in one call."""
        size = self.plan.batch_size
        if self._full.unit != "group":
            return size
        group = self.plan.group_size
        return min(size, group) if self._cut else group

    def shrink(self, size: int) -> None:
        """At most so many rows a pass, in every attack."""
        super().shrink(size)
        self._cut = True
        for stage in (*self._cheap, self._full):
            stage.shrink(size)

    def _begin(self, batch: Batch, shared: Shared, cheap: AttackResult) -> Budgeted:
        """The rows after the cheap attack; survivors are in no stratum yet."""
        none = torch.full((len(batch),), NONE, dtype=torch.int64)
        columns = {
            name: getattr(cheap, name)
            for name in ("status", "verdict", "reference", "clean_correct", "margin")
        }
        columns |= {"ids": batch.ids.cpu(), "stratum": none}
        columns["attacked"] = torch.zeros(len(batch), dtype=torch.int8)
        plan = self.plan
        return Budgeted.from_table(
            Table([Rows(torch.arange(len(batch)), columns)]),
            settings={
                **self.settings,
                **{k: getattr(plan, k) for k in ("eps", "norm", "seed", "outputs")},
            },
            provenance=origin_of(shared, batch.images.device, plan),
            groups=batch.groups,
        )

    def _keep(self, batch: Batch, result: Budgeted) -> None:
        """Survivors, until it is known which of them get the full attack."""
        rows = _survivors(result)
        place = rows.to(batch.images.device)
        labels = labels_of(batch)[place]
        self._pool.add(batch.ids.cpu()[rows], batch.images[place], labels)

    def failed(self, batch: Batch) -> Rows:
        """Rows of which nothing is known."""
        n = len(batch)
        small = dict.fromkeys(("attacked", "verdict"), torch.zeros(n, dtype=torch.int8))
        columns = small | {
            "ids": batch.ids.cpu(),
            "status": torch.full((n,), int(Status.FAILED), dtype=torch.int8),
            "reference": labels_of(batch).cpu(),
            "clean_correct": torch.full((n,), -1, dtype=torch.int8),
            "margin": torch.full((n,), torch.nan, dtype=torch.float64),
            "stratum": torch.full((n,), NONE, dtype=torch.int64),
        }
        columns["verdict"] = torch.full((n,), int(Verdict.UNDECIDED), dtype=torch.int8)
        return Rows(batch.index, columns)

    def close(self, result: Result, shared: Shared) -> Result:
        """The full attack on those of the survivors that the interval needs."""
        assert isinstance(result, Budgeted)
        rows = _survivors(result)
        if not len(rows):
            return result
        ids, broken = result.ids[rows], torch.zeros(len(rows), dtype=torch.bool)
        self._pool.gather()
        before = self.plan.batch_size

        def attack(part: Tensor) -> StageRows:
            batch = self._pool.batch(ids[part])
            answers = _right(result.margin[rows[part]], batch.labels)
            most = min(self.plan.batch_size, shared.judge.batch_size)
            judge = replace(shared.judge, batch_size=most)
            return self._full.rows(batch, replace(shared.on(answers), judge=judge))

        def strike(chosen: IntArray) -> Any:
            asked = torch.from_numpy(chosen)
            each = in_parts(asked, lambda: self._at_once, attack, self.shrink)
            for part, found in each:
                broken[part] = found.verdict == int(Verdict.NOT_ROBUST)
            return broken[asked].numpy()

        n = int(result.answered.sum())
        spent = spend(result.margin[rows], ids, n, strike, self._spending)
        columns = {
            name: getattr(result, name).clone()
            for name in ("verdict", "attacked", "stratum")
        }
        columns["attacked"][rows] = torch.from_numpy(spent.looked).to(torch.int8)
        columns["verdict"][rows[broken]] = int(Verdict.NOT_ROBUST)
        columns["stratum"][rows] = _labelled(torch.from_numpy(spent.member), ids)
        self._pool = Pool()
        whole = replace(result, **columns)
        if self.plan.batch_size == before:
            return whole
        told = self._at_once, self._full.unit, self.label
        return whole.with_flags([short_flag(int(spent.looked.sum()), *told)])


def _survivors(result: Budgeted) -> Tensor:
    """Numbers of the rows that the cheap attack left right."""
    left = (result.verdict == int(Verdict.UNDECIDED)) & (result.clean_correct == 1)
    return (left & (result.status == int(Status.OK))).nonzero().flatten()


def _left_of(result: Budgeted) -> Judged:
    """What the attacks so far left, as the answers from which the next one starts."""
    alive = np.zeros(len(result), dtype=bool)
    alive[_survivors(result).numpy()] = True
    no = np.zeros(len(result), dtype=bool)
    labels = result.reference.numpy().copy()
    return Judged(result.margin.numpy().copy(), ~alive, no, ~no, labels)


def _weaker(before: Budgeted, found: AttackResult) -> Budgeted:
    """The rows after one more attack on what was left; the smaller margin counts."""
    alive = torch.zeros(len(before), dtype=torch.bool)
    alive[_survivors(before)] = True
    broken = alive & (found.verdict == int(Verdict.NOT_ROBUST))
    margin = torch.minimum(before.margin, found.margin)
    verdict = torch.where(broken, found.verdict, before.verdict)
    status = torch.where(alive, found.status, before.status)
    margin = torch.where(alive, margin, before.margin)
    return replace(before, verdict=verdict, margin=margin, status=status)


def _right(margin: Tensor, labels: Tensor | None) -> Judged:
    """The clean answers to rows that are all right."""
    assert labels is not None
    no = np.zeros(len(margin), dtype=bool)
    return Judged(margin.numpy(), no, no.copy(), ~no, labels.cpu().numpy())


def _labelled(member: Tensor, ids: Tensor) -> Tensor:
    """0 for known rows; for the others a number that no stratum of other rows has."""
    found = torch.zeros_like(member)
    for number in range(1, int(member.max()) + 1):
        mine = member == number
        if bool(mine.any()):
            found[mine] = (int(ids[mine].min()) & _LOW) + 1
    return found
