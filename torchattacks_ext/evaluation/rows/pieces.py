"""What is known of some rows of a stage? A finished piece, a line of a state, or a gap."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..._typing import Status, Verdict
from ...attacks.base.finished import failed_flag
from ...engines.judge.active import Judged
from ...errors import InputError, ModelContractError, StateError
from ...numerics.ids import from_hex, to_hex
from ...results.base import codec
from ...results.base.columns import Rows, Table
from ...results.base.facts import Cost, Flag
from ...results.base.groups import Groups
from ...results.base.result import Result
from ...results.base.sidecar import SideCar
from ...results.base.unknown import known_fields
from ...results.stages.report import FAMILIES
from ..gallery import Picture
from .lots import Lot


@dataclass(frozen=True, eq=False)
class Piece:
    """Rows start .. stop - 1 of the data as one stage left them.

    tally: what the stage keeps of them beside the result. cut: how many rows went at once, where
    memory was too short for more. content: as of a :class:`Lot`, where the stage is the first.
    """

    start: int
    stop: int
    result: Result
    tally: Mapping[str, Any] = field(default_factory=dict)
    cost: Cost = Cost()
    cut: int | None = None
    content: Tensor | None = None

    @property
    def broken(self) -> int:
        """Rows that are known to be answered wrongly after a change."""
        verdict: Tensor | None = getattr(self.result, "verdict", None)
        return 0 if verdict is None else int((verdict == int(Verdict.NOT_ROBUST)).sum())

    def to_dict(self, stage: str, pictures: Iterable[Picture]) -> dict[str, Any]:
        """As a line of a state."""
        shown = [picture.to_dict() for picture in pictures]
        return {
            "stage": stage,
            "start": self.start,
            "stop": self.stop,
            "result": self.result.to_dict(),
            "tally": codec.plain(self.tally),
            "cost": asdict(self.cost),
            "cut": self.cut,
            **({} if self.content is None else {"content": to_hex(self.content)}),
            **({"pictures": shown} if shown else {}),
        }

    @classmethod
    def from_dict(cls, line: Mapping[str, Any]) -> Piece:
        """The inverse of :meth:`to_dict`, without the pictures."""
        schemas = {
            schema.partition("/")[0]: family for schema, family in FAMILIES.items()
        }
        family = schemas.get(str(line["result"].get("schema")).partition("/")[0])
        if family is None:
            raise InputError(
                f"a line of the state holds schema={line['result'].get('schema')!r}, expected one "
                f"of {sorted(FAMILIES)}"
            )
        content = line.get("content")
        return cls(
            start=int(line["start"]),
            stop=int(line["stop"]),
            result=family.from_dict(line["result"]),
            tally=line["tally"],
            cost=known_fields(Cost, line["cost"]),
            cut=line["cut"],
            content=None if content is None else from_hex(content),
        )

    def check(self, lot: Lot) -> None:
        """Raises StateError unless the rows of a lot inside these are those that were measured."""
        part = slice(lot.start - self.start, lot.stop - self.start)
        same = torch.equal(self.result.ids[part], lot.batch.ids.cpu())
        if self.content is not None and lot.content is not None:
            same = same and torch.equal(self.content[part], lot.content)
        if self.result.groups is not None or lot.batch.groups is not None:
            whole = self.result.groups or ()
            same = same and tuple(whole[part]) == (lot.batch.groups or ())
        if not same:
            raise StateError(
                f"the state is of other data: rows {lot.start} to {lot.stop - 1} are not those "
                "that were measured (other images, labels, ids or order); give another folder, or "
                "the data of that run, in its order"
            )


@dataclass(frozen=True, eq=False)
class Gap:
    """Rows that were not measured; they wait for a result to be rows of.

    reason: what was raised; None where the run ended before them.
    """

    start: int
    rows: Rows
    groups: Groups | None
    reason: Exception | None = None

    @property
    def stop(self) -> int:
        """One beyond the last of them."""
        return self.start + len(self.rows)

    def like(self, whole: Result) -> Result:
        """The same as a result of the family, settings and origin of another."""
        found = type(whole).from_table(
            Table([Rows(self.rows.index, self.rows.columns)]),
            settings=whole.settings,
            provenance=whole.provenance,
            groups=self.groups,
        )
        if isinstance(self.reason, ModelContractError):
            return found.with_flags(failed_flag(found, self.reason))
        return found.with_flags(_raised(found, self.reason))


def _raised(result: Result, reason: Exception | None) -> list[Flag]:
    n = int((getattr(result, "status") == int(Status.FAILED)).sum())
    if reason is None or not n:
        return []
    text = (
        f"{reason}; the rows of that group are FAILED, neither robust nor broken, and a run that "
        "goes on measures them again"
    )
    return [Flag("attack_raised", text, n)]


def left_by(rows: Rows, clean: Judged | None) -> Rows:
    """Rows on which a method raised: FAILED, but for those that were wrong from the start.

    clean: the answers to the clean images; None where they are not known.
    """
    codes = torch.full_like(rows.columns["status"], int(Status.FAILED))
    columns = {**rows.columns, "status": codes}
    if clean is None or "verdict" not in columns:
        return replace(rows, columns=columns)
    wrong = torch.from_numpy(clean.failed)
    seen = torch.where(torch.from_numpy(clean.finite), Status.OK, Status.NON_FINITE)
    columns["status"] = torch.where(wrong, seen.to(codes.dtype), codes)
    verdict = columns["verdict"]
    columns["verdict"] = torch.where(wrong, int(Verdict.MISCLASSIFIED), verdict)
    columns["clean_correct"] = (~wrong).to(columns["clean_correct"].dtype)
    return replace(rows, columns={k: v.contiguous() for k, v in columns.items()})


def on_disk(result: Result, folder: Path, name: str) -> Result:
    """The result with images that it holds in memory as files of the folder."""
    cars = []
    for number, car in enumerate(result.sidecars):
        if car.ids is not None and car.stored is not None:
            path = folder / f"{name}-{number}.safetensors"
            car = SideCar.save(path, car.ids, car.stored)
        cars.append(car)
    return replace(result, sidecars=tuple(cars)) if cars else result


def piece_flags(pieces: Sequence[Piece], stage: str, unit: str) -> Iterator[Flag]:
    """What short memory changed, and 8-bit pictures show, of a stage by its label and unit."""
    yield from _short_flags(pieces, stage, unit)
    yield from _eight_bit_flags(pieces, stage)


def _short_flags(pieces: Sequence[Piece], stage: str, unit: str) -> Iterator[Flag]:
    cut = [(p.cut, p.stop - p.start) for p in pieces if p.cut is not None]
    if not cut:
        return
    most, n = min(size for size, _ in cut), sum(rows for _, rows in cut)
    text = f"memory was too short for more than {most} rows at once"
    if unit == "group":
        text += ": groups were cut, and the attack drew for other rows together"
        yield Flag("group_cut", text, n, {"stage": stage, "rows": most})
    else:
        yield Flag("out_of_memory", f"{text}; no decision hangs on that", n)


def _eight_bit_flags(pieces: Sequence[Piece], stage: str) -> Iterator[Flag]:
    told = [p.tally["eight_bit"] for p in pieces if "eight_bit" in p.tally]
    n, still = (sum(one[key] for one in told) for key in ("broken", "still"))
    if n:
        text = (
            f"on 256 levels inside the ball {still} of the {n} images that {stage} broke still "
            "fool the model"
        )
        details = {"stage": stage, "broken": n, "still": still, "quiet": True}
        yield Flag("eight_bit", text, n - still, details)


def is_failed(result: Result) -> bool:
    """Whether the model or the method raised on every row."""
    status = getattr(result, "status", None)
    return status is not None and bool((status == int(Status.FAILED)).all())


def non_finite_flags(result: Result) -> Iterator[Flag]:
    """What every result must say: rows without finite logits."""
    status = getattr(result, "status", None)
    bad = 0 if status is None else int((status == int(Status.NON_FINITE)).sum())
    if bad:
        yield Flag("non_finite", f"{result.no_number}; counted as failures", bad)
