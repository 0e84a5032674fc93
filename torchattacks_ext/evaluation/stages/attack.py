"""What does one attack leave? It proposes; clipped, projected and predicted again, it is judged."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..._typing import Status, Verdict
from ...attacks.msa.rows import attack_rows
from ...data.stream import Batch
from ...engines.judge.active import Array, Judge, Judged
from ...engines.zoo.attack import run_attack
from ...engines.zoo.watch import GradientWatch
from ...errors import ConfigError
from ...numerics.arguments import parse_number
from ...numerics.unit import OnUnit, Unit, check_box
from ...results.attack import AttackResult
from ...results.base.columns import Rows
from ...results.base.facts import Cost, Flag
from ...results.base.result import Result
from ...results.base.unknown import known_fields
from ...results.base.words import percent_of
from ..plan import Plan
from ..zoo.catalogue import (
    attack_info,
    ball_of,
    check_attack,
    create_attack,
    on_unit,
    reach,
    unfit,
)
from ..zoo.table import AttackInfo, parameters_of
from .base import RowStage, Shared, StageRows, Tally
from .clean import labels_of, status_of
from .idle import Idle, raised, tally
from .placed import placed


@dataclass(frozen=True, eq=False)
class _Tried:
    """What an attack found for the rows that were right: candidates inside the ball, judged.

    found: norm of its own candidate where that fools the model, inside the ball or not, else nan.
    n_odd: rows with NaN or infinite pixels. moved (M,): 0 where the candidate is the image
    itself, and was meant to be. unguided (M,): rows whose every gradient was 0. calls: what went
    by inside the attack's own calls.
    """

    inside: Tensor
    seen: Judged
    length: Array
    found: Array
    n_odd: int
    moved: Array
    unguided: Array
    calls: Cost


class AttackStage(RowStage):
    """Any registered attack at the plan's ball; arguments: those of the torchattacks class.

    Numbers may be text ("2/255"); lengths (alpha and the like) have the unit of the images, and
    where they are not given they are torchattacks' own share of the widest range. The class sees
    the images moved and scaled onto [0, 1]. Raises ConfigError for arguments that the class does
    not have or cannot use, and for no bounds.
    """

    kind = "attack"
    unit = "group"
    guarantee = "upper bound of the true robust accuracy: no attack proves robustness"

    def __init__(self, label: str, plan: Plan, settings: Mapping[str, Any]) -> None:
        super().__init__(label, plan, settings)
        arguments = dict(self.settings)
        name = arguments.pop("attack", None)
        if name is None:
            raise ConfigError("an attack stage needs attack=, the name of an attack")
        self.info = self._known(str(name))
        for key in ("eps", "norm", "seed"):
            if key in arguments:
                raise ConfigError(
                    f"{self.info.name}: {key}={arguments[key]!r} is that of the plan, which judges "
                    f"all stages; set {key} there, and leave it out of the stage"
                )
        check_box(plan.bounds, self.info.name)
        self._unit = Unit(plan.box)
        self._eps = self._unit.radius(plan.eps)
        self.arguments, self._scaled = self._read(arguments)
        self.settings = {"attack": self.info.name} | self.arguments
        self.needs_gradient = self.info.access == "white-box"
        self._notes = tuple(self._caveats())

    def _known(self, name: str) -> AttackInfo:
        return attack_info(name)

    def _read(self, arguments: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The arguments as numbers, and those numbers on [0, 1]."""
        name = self.info.name
        check_attack(name, eps=self._eps, norm=self.plan.norm, **arguments)
        found = _checked(name, arguments)
        return found, on_unit(name, found, self._unit)

    @property
    def notes(self) -> tuple[str, ...]:
        """Caveats: own ones of the attack, another norm, short steps, whence its random numbers."""
        return self._notes

    def _caveats(self) -> Iterator[str]:
        info = self.info
        if ball_of(info, self.plan.norm) == "foreign":
            norm = info.norm or "no norm"
            yield f"works in {norm}, judged in {self.plan.norm}: a weak test of this ball"
        far = reach(info.name, eps=self._eps, **self._scaled)
        if far is not None and far < 1:
            share = percent_of(far)
            yield f"its steps carry only {share} of the radius; raise alpha or steps"
        if info.seeding == "self-seeded":
            yield "reseeds itself for every group: depends on how groups are cut"
        elif info.seeding == "global generator":
            yield "draws for a whole group: depends on how groups are cut"
        if info.caveat:
            yield info.caveat

    def unfit(self, n_classes: int, shape: tuple[int, ...]) -> str | None:
        """Too few classes for its loss, or images of another shape than it takes."""
        return unfit(self.info, self.arguments, n_classes, shape)

    def rows(self, batch: Batch, shared: Shared) -> StageRows:
        """Attack the rows that are still right; the others are MISCLASSIFIED and cost nothing."""
        right = np.flatnonzero(~shared.clean.failed)
        place = torch.from_numpy(right).to(batch.images.device)
        tried = self._try(batch, place, shared)
        idle = tally(self.info, tried.seen, tried.moved, tried.unguided)
        result = self._result(batch, shared, right, tried)
        spot = torch.full((len(batch),), -1, device=place.device)
        spot[place] = torch.arange(len(place), device=place.device)

        def worst(rows: Tensor) -> Tensor:
            shown, at = batch.images[rows].clone(), spot[rows]
            shown[at >= 0] = tried.inside[at[at >= 0]]
            return shown

        told = asdict(idle) | {"calls": asdict(tried.calls)}
        return StageRows(result, worst, result.prediction, tally=told)

    def finish(self, result: Result, tallies: Sequence[Tally] = ()) -> Result:
        """A doubt where the attack had nothing to follow on many images that it left."""
        calls = sum((known_fields(Cost, t["calls"]) for t in tallies), Cost())
        facts = {**result.provenance, "attack_calls": asdict(calls)}
        result = replace(result, provenance=facts)
        if not self.plan.eps:  # nothing could be moved
            return result
        idle = sum((known_fields(Idle, t) for t in tallies), Idle())
        doubts = *idle.flags(self.label), *raised(self.info, result, self.label)
        return result.with_flags(doubts)

    def failed(self, batch: Batch) -> Rows:
        """Rows that were not attacked."""
        return attack_rows(batch, None, (), keep=False)

    def _try(self, batch: Batch, place: Tensor, shared: Shared) -> _Tried:
        """Run the attack on the rows `place` and judge what it returns."""
        images, wanted = batch.images[place], labels_of(batch)[place]
        plan, judge = self.plan, shared.judge
        watch, unit = GradientWatch(shared.view, len(images)), self._unit
        before, started = shared.view.meter.snapshot(), time.perf_counter()
        raw = run_attack(
            lambda victim: self._create(victim, shared.n_classes),
            watch if unit.plain else OnUnit(watch, unit),
            unit.of(images),
            wanted,
            self._seed(batch),
        )
        calls = shared.view.meter.since(before, time.perf_counter() - started)
        put = placed(images, raw, unit, plan.eps, plan.norm)
        seen = _judge(judge, put.inside, wanted)
        # a minimum-norm attack may stop outside the ball: its own candidate is asked as well
        there, outside = put.there, put.there.cpu().numpy()
        fooled, found = seen.failed.copy(), put.length.copy()
        fooled[outside] = _judge(judge, put.boxed[there], wanted[there]).failed
        found[outside] = put.far[outside]
        return _Tried(
            put.inside,
            seen,
            put.length,
            np.where(fooled, found, np.nan),
            int(put.odd.sum()),
            put.length + put.odd,
            watch.unguided().numpy() & ~put.odd,
            calls,
        )

    def _create(self, victim: Any, n_classes: int) -> Any:
        return create_attack(
            self.info.name,
            victim,
            eps=self._eps,
            norm=self.plan.norm,
            n_classes=n_classes,
            seed=self.plan.seed,
            **self._scaled,
        )

    def _seed(self, batch: Batch) -> int:
        """Of the batch as a whole: most attacks draw for all rows at once."""
        key = f"{self.plan.seed}|{self.info.name}".encode()
        key += batch.ids.cpu().numpy().tobytes()
        return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") >> 1

    def _result(
        self, batch: Batch, shared: Shared, right: Array, tried: _Tried
    ) -> AttackResult:
        clean, seen, plan = shared.clean, tried.seen, self.plan

        def fill(before: Array, values: Any) -> Tensor:
            """The rows that were attacked with their values, the others as before."""
            after = before.copy()
            after[right] = values
            return torch.from_numpy(after)

        unseen = np.full(len(batch), np.nan)
        broken = np.where(seen.failed, int(Verdict.NOT_ROBUST), int(Verdict.UNDECIDED))
        wrong = np.full(len(batch), int(Verdict.MISCLASSIFIED), dtype=np.int8)
        status = status_of(clean)
        status[torch.from_numpy(right[~seen.finite])] = int(Status.NON_FINITE)
        return AttackResult(
            ids=batch.ids.cpu(),
            groups=batch.groups,
            settings={
                "method": self.info.name,
                "eps": plan.eps,
                "norm": plan.norm,
                "seed": plan.seed,
                "outputs": plan.outputs,
                "arguments": self.arguments,
            },
            verdict=fill(wrong, broken),
            status=status,
            reference=labels_of(batch).cpu(),
            clean_correct=torch.from_numpy(~clean.failed).to(torch.int8),
            prediction=fill(clean.prediction, seen.prediction),
            margin=fill(clean.margin, seen.margin),
            clean_margin=torch.from_numpy(clean.margin),
            norm=fill(np.zeros(len(batch)), tried.length),
            found_norm=fill(unseen, tried.found),
            flags=_odd(tried.n_odd),
        )


def _checked(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of the kind that the defaults have; numbers may be text ("2/255")."""
    known, found = parameters_of(name), dict(arguments)
    for key, value in arguments.items():
        default = known[key].default
        if isinstance(default, bool):
            if not isinstance(value, bool):
                raise ConfigError(f"{name}: {key}={value!r} must be true or false")
        elif isinstance(default, (int, float)):
            if isinstance(value, bool) or not isinstance(value, int):
                found[key] = parse_number(value, f"{name}: {key}")
    return found


def _judge(judge: Judge, images: Tensor, labels: Tensor) -> Judged:
    """The answers to images (M, ...), M >= 0, at fixed labels (M,)."""
    if not len(images):
        none = np.zeros(0, dtype=bool)
        return Judged(np.zeros(0), none, none, none, np.zeros(0, dtype=np.int64))
    with torch.no_grad():
        seen = judge.judge(len(images), lambda part: (images[part], labels[part]), None)
    assert seen is not None  # no budget was given
    return seen


def _odd(n: int) -> tuple[Flag, ...]:
    text = (
        "an attack returned NaN or infinite pixels; those of the clean image stood in for them, "
        "so it was weaker than it should be"
    )
    return (Flag("non_finite_candidates", text, n),) if n else ()
