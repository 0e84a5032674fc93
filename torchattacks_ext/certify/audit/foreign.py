"""What do other tools claim? Their radii as certificates of a tier of their own, never on trust."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ..._typing import NORMS, Norm, Status
from ...data.door import as_tensor, check_labels
from ...errors import ConfigError, InputError
from ...numerics.ids import IdBook
from ...results.certificates import FOREIGN, Certificates


def foreign_certificates(
    ids: Any,
    radius: Any,
    labels: Any,
    *,
    norm: Norm,
    verifier: str,
    n_inputs: int | None = None,
    closed: bool = False,
) -> Certificates:
    """Claims of another tool as certificates of the tier "claimed by another tool".

    ids (N,): of the images, ints or text. radius (N,): of the open ball on which `labels` (N,) is
    claimed to be the answer; NaN, infinite or <= 0 claims nothing. norm: of the radii. verifier:
    its name and version. n_inputs: numbers an image, without which L2 radii cannot be converted to
    Linf. closed: whether the edges of the balls belong to the claim, as they do for verifiers that
    prove a given eps. Nothing is checked here: hold them against their balls by :func:`.audit`.

    Raises ConfigError for another norm, InputError where ids, radii and labels do not fit or
    are no numbers (labels: no whole ones).

    >>> found = foreign_certificates([1, 2], [0.1, float("nan")], [3, 4], norm="Linf", verifier="x")
    >>> found.label.tolist(), found.tier
    ([3, -1], 'claimed by another tool')
    """
    if norm not in NORMS:
        raise ConfigError(f"norm={norm!r} is not one of {NORMS}")
    keys = IdBook().given(ids)
    far = as_doubles(radius, "radii")
    answer = as_tensor(labels, "labels").flatten()
    if not len(keys) == len(far) == len(answer):
        raise InputError(
            f"{len(keys)} ids, {len(far)} radii and {len(answer)} labels; one of each an image"
        )
    answer = check_labels(answer, len(keys))
    proved = far.isfinite() & (far > 0)
    return Certificates(
        ids=keys,
        settings={
            "certifier": str(verifier),
            "method": "foreign",
            "tier": FOREIGN,
            "norm": norm,
            "n_inputs": n_inputs,
            **({"closed": True} if closed else {}),
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


def as_doubles(values: Any, what: str) -> Tensor:
    """Numbers as a flat float64 tensor; InputError, naming `what`, for what are none.

    >>> as_doubles([0.1], "radii").item() == 0.1          # not by way of float32
    True
    """
    try:
        return torch.as_tensor(values, dtype=torch.float64).flatten()
    except (TypeError, ValueError, RuntimeError):
        said = repr(values)[:60]
        raise InputError(f"{what} {said} are no numbers; give one an image") from None
