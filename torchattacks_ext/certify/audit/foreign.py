"""What do other tools claim? Verdicts and radii of a verifier as certificates, never on trust."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..._typing import NORMS, Norm, Status
from ...errors import ConfigError, InputError
from ...numerics.arguments import as_number
from ...numerics.ids import IdBook
from ...results.certificates import FOREIGN, Certificates

PROVED = ("robust", "verified", "unsat", "safe", "holds")
"""Verdicts that claim a radius; every other word claims nothing."""
MOST_BYTES = 64 << 20


def foreign_certificates(
    ids: Any,
    radius: Any,
    labels: Any,
    *,
    norm: Norm,
    verifier: str,
    n_inputs: int | None = None,
) -> Certificates:
    """Claims of another tool as certificates of the tier "claimed by another tool".

    ids (N,): of the images, ints or text. radius (N,): of the open ball on which `labels` (N,) is
    claimed to be the answer; NaN, infinite or <= 0 claims nothing. norm: of the radii. verifier:
    its name and version. Nothing is checked here: hold them against their balls by :func:`.audit`.

    >>> found = foreign_certificates([1, 2], [0.1, float("nan")], [3, 4], norm="Linf", verifier="x")
    >>> found.label.tolist(), found.tier
    ([3, -1], 'claimed by another tool')
    """
    if norm not in NORMS:
        raise ConfigError(f"norm={norm!r} is not one of {NORMS}")
    keys = IdBook().given(ids)
    far = torch.as_tensor(radius, dtype=torch.float64).flatten()
    answer = torch.as_tensor(labels, dtype=torch.int64).flatten()
    if not len(keys) == len(far) == len(answer):
        raise InputError(
            f"{len(keys)} ids, {len(far)} radii and {len(answer)} labels; one of each an image"
        )
    proved = far.isfinite() & (far > 0)
    return Certificates(
        ids=keys,
        settings={
            "certifier": str(verifier),
            "method": "foreign",
            "tier": FOREIGN,
            "norm": norm,
            "n_inputs": n_inputs,
        },
        status=torch.full((len(keys),), int(Status.OK), dtype=torch.int8),
        label=torch.where(proved, answer, -1),
        prediction=answer,
        reference=answer,
        clean_correct=proved.to(torch.int8),
        abstain=(~proved).to(torch.int8),
        radius=torch.where(proved, far, 0.0),
        latent_radius=torch.where(proved, far, 0.0),
        lipschitz=torch.full((len(keys),), math.nan, dtype=torch.float64),
    )


def read_verdicts(path: Any) -> list[dict[str, Any]]:
    """Rows of an external verifier's CSV: `id, verdict, verifier, seconds`, and others as they are.

    seconds is a float (nan where it is missing); `proved` says whether the verdict claims the
    image's ball. Raises InputError for a file that is none, is larger than 64 MB, or lacks `id` or
    `verdict`, naming the line.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"{str(file)!r} is no file; give the CSV of the verifier")
    if file.stat().st_size > MOST_BYTES:
        raise InputError(f"{file.name} has more than {MOST_BYTES >> 20} MB; split it")
    try:
        with file.open(newline="", encoding="utf-8") as handle:
            return list(_rows(csv.DictReader(handle), file.name))
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{file.name} is no CSV file: {error}") from error


def _rows(reader: Iterable[Mapping[str, Any]], name: str) -> Iterable[dict[str, Any]]:
    for number, row in enumerate(reader, start=2):
        for key in ("id", "verdict"):
            if not row.get(key):
                raise InputError(
                    f"{name}, line {number}: {key!r} is missing; columns are id, verdict, "
                    "verifier, seconds"
                )
        verdict = str(row["verdict"]).strip().lower()
        yield dict(row) | {
            "verdict": verdict,
            "proved": verdict in PROVED,
            "verifier": row.get("verifier") or "unknown",
            "seconds": as_number(row.get("seconds", "")),
        }


def of_verdicts(
    rows: Iterable[Mapping[str, Any]], labels: Tensor, eps: Any, *, norm: Norm
) -> Certificates:
    """Verdicts of :func:`read_verdicts` as certificates: radius eps where the ball was proved.

    labels (N,): the answers that were proved; eps: one number, or (N,).
    """
    rows = list(rows)
    far = torch.as_tensor(eps, dtype=torch.float64).expand(len(rows)).clone()
    proved = torch.tensor([bool(row["proved"]) for row in rows])
    names = sorted({str(row["verifier"]) for row in rows})
    return foreign_certificates(
        [row["id"] for row in rows],
        torch.where(proved, far, math.nan),
        labels,
        norm=norm,
        verifier=", ".join(names),
    )
