"""What does an external verifier say of each image? Its CSV, read strictly, as certificates."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ..._typing import Norm
from ...data.door import as_tensor
from ...errors import InputError
from ...numerics.arguments import as_number
from ...numerics.ids import IdBook, to_hex
from ...results.base.facts import Cost
from ...results.certificates import Certificates
from .foreign import as_doubles, foreign_certificates

PROVED = ("robust", "verified", "unsat", "safe", "holds", "certified", "true")
"""Verdicts that claim the ball."""
OPEN = (
    *("falsified", "sat", "unsafe", "violated", "broken", "not robust", "false"),
    *("unknown", "timeout", "undecided", "error", "abstain", "out of memory", "nan"),
)
"""Verdicts that claim nothing; another word is an error, since it may be one of these misspelt."""
COLUMNS = ("id", "verdict", "verifier", "seconds")
MOST_BYTES = 64 << 20


def read_verdicts(path: Any) -> list[dict[str, Any]]:
    """Rows of an external verifier's CSV with columns `id, verdict, verifier, seconds`.

    verifier and seconds may be left out or empty; other columns stay as they are. `proved` says
    whether the verdict claims the image's ball; seconds is a float, nan where it is missing. An id
    that stands there twice with one verdict is read once. Raises InputError, naming the line, for a
    file that is none, is empty, has a row with other columns than its head, lacks `id` or
    `verdict`, has a verdict that is none of :data:`PROVED` and :data:`OPEN`, seconds that are no
    number >= 0, or two verdicts for one id.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"{str(file)!r} is no file; give the CSV of the verifier")
    if file.stat().st_size > MOST_BYTES:
        raise InputError(f"{file.name} has more than {MOST_BYTES >> 20} MB; split it")
    try:
        with file.open(newline="", encoding="utf-8-sig") as handle:
            rows = list(_rows(csv.DictReader(handle, strict=True), file.name))
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{file.name} is no CSV file: {error}") from error
    if not rows:
        raise InputError(f"{file.name} has no rows; columns are {', '.join(COLUMNS)}")
    return rows


def _rows(reader: csv.DictReader[str], name: str) -> Iterator[dict[str, Any]]:
    lacking = [key for key in COLUMNS[:2] if key not in (reader.fieldnames or ())]
    if lacking:
        raise InputError(
            f"{name} has no column {lacking[0]!r}; its first line must name the columns "
            f"{', '.join(COLUMNS)}"
        )
    seen: dict[str, tuple[str, int]] = {}
    for row in reader:
        number = reader.line_num
        found = _row(row, f"{name}, line {number}")
        key, verdict = found["id"], found["verdict"]
        said, where = seen.setdefault(key, (verdict, number))
        if said != verdict:
            raise InputError(
                f"{name}, line {number}: id {key!r} is {verdict!r} here and {said!r} in line "
                f"{where}; keep one file for each verifier and radius"
            )
        if where == number:
            yield found


def _row(row: Mapping[Any, Any], place: str) -> dict[str, Any]:
    if None in row or None in row.values():
        raise InputError(
            f"{place}: it has {'more' if None in row else 'fewer'} columns than the first line; "
            f"columns are {', '.join(COLUMNS)}, and a comma within a value needs quotes"
        )
    for key in COLUMNS[:2]:
        if not row[key].strip():
            raise InputError(f"{place}: {key!r} is missing")
    verdict = row["verdict"].strip().lower()
    if verdict not in PROVED and verdict not in OPEN:
        raise InputError(
            f"{place}: verdict {row['verdict']!r} is none of {', '.join(PROVED)} (the ball is "
            f"proved) and {', '.join(OPEN)} (nothing is claimed)"
        )
    given = (row.get("seconds") or "").strip()
    seconds = as_number(given)
    if given and not 0 <= seconds < math.inf:
        raise InputError(
            f"{place}: seconds {given!r} is not a finite number >= 0; leave it empty where it is "
            "not known"
        )
    return dict(row) | {
        "id": row["id"].strip(),
        "verdict": verdict,
        "proved": verdict in PROVED,
        "verifier": (row.get("verifier") or "").strip() or "unknown",
        "seconds": seconds,
    }


def verdict_certificates(
    rows: Iterable[Mapping[str, Any]],
    labels: Any,
    eps: Any,
    *,
    norm: Norm,
    ids: Any = None,
) -> Certificates:
    """Verdicts of :func:`read_verdicts` as certificates: radius eps where the ball was proved.

    labels (N,): the answers that were proved. eps: one number, or (N,): of the *closed* balls of
    the verifier. ids (N,): of the images, as `measure` got them, in the order of the labels; a row
    names its image by that id, or by its 16 hexadecimal digits in a report. Images without a row
    are not claimed. None takes the rows in their order, text as it is. Raises InputError for a row
    of an id that is not there, naming it, and for labels or radii that do not fit. The cost of the
    result is what the verifier took.

    >>> rows = [{"id": "1", "verdict": "robust", "proved": True, "verifier": "v"}]
    >>> found = verdict_certificates(rows, [3, 7], 0.1, norm="Linf", ids=[0, 1])
    >>> found.label.tolist(), found.certified(0.1).tolist()
    ([-1, 7], [False, True])
    """
    rows = list(rows)
    wanted = [str(row["id"]) for row in rows] if ids is None else ids
    keys = IdBook().given(wanted)
    places = _places(wanted, keys)
    answers = as_tensor(labels, "labels").flatten()
    far = as_doubles(as_number(eps) if isinstance(eps, str) else eps, "eps")
    if len(answers) != len(keys) or len(far) not in (1, len(keys)):
        raise InputError(
            f"{len(answers)} labels and {len(far)} radii for {len(keys)} images; one of each an "
            "image, or one radius for all"
        )
    if not bool(((far > 0) & far.isfinite()).all()):
        raise InputError(
            f"eps={eps!r} must be > 0 and finite: the radius that was verified"
        )
    proved = torch.zeros(len(keys), dtype=torch.bool)
    said: dict[int, Mapping[str, Any]] = {}
    for row in rows:
        place = places.get(str(row["id"]))
        if place is None:
            raise InputError(
                f"the verdicts name id {row['id']!r}, which is none of the {len(keys)} images"
                f"{_like(places)}; use the ids that measure() got, or those of the report"
            )
        before = said.setdefault(place, row)
        if bool(before["proved"]) != bool(row["proved"]):
            raise InputError(
                f"ids {before['id']!r} and {row['id']!r} are one image with two verdicts, "
                f"{before.get('verdict')!r} and {row.get('verdict')!r}; leave one"
            )
        proved[place] = bool(row["proved"])
    names = sorted({str(row.get("verifier", "unknown")) for row in rows})
    spent = [float(row.get("seconds", math.nan)) for row in rows]
    found = foreign_certificates(
        keys,
        torch.where(proved, far.expand(len(keys)), math.nan),
        answers,
        norm=norm,
        verifier=", ".join(names) or "unknown",
        closed=True,
    )
    return replace(found, cost=Cost(0, 0, sum(s for s in spent if s >= 0)))


def by_place(
    rows: Iterable[Mapping[str, Any]], keys: torch.Tensor
) -> list[Mapping[str, Any]]:
    """The same rows, an id that is the place of an image in `keys` (N,), from 0, by its digits.

    >>> by_place([{"id": "1"}, {"id": "cat"}], torch.tensor([7, 8]))
    [{'id': '0000000000000008'}, {'id': 'cat'}]
    """
    digits = to_hex(keys)

    def named(row: Mapping[str, Any]) -> Mapping[str, Any]:
        name = str(row["id"])
        place = int(name) if name.isdecimal() and len(name) < 16 else -1
        return {**row, "id": digits[place]} if 0 <= place < len(digits) else row

    return [named(row) for row in rows]


def _places(ids: Any, keys: torch.Tensor) -> dict[str, int]:
    """Where each id stands, by its text and by its hexadecimal digits."""
    named = ids.tolist() if hasattr(ids, "tolist") else list(ids)
    found = {digits: place for place, digits in enumerate(to_hex(keys))}
    return found | {str(name): place for place, name in enumerate(named)}


def _like(places: Mapping[str, int]) -> str:
    return f" (such as {list(places)[-1]!r})" if places else ""
