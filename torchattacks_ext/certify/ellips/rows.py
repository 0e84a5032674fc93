"""How do radii of latents become rows of a table of certificates?"""

from __future__ import annotations

import torch
from torch import Tensor

from ..._typing import Status
from ...data.stream import Batch
from ...errors import ModelContractError
from ...models.broken import models_own
from ...numerics.certificates.radii import Radii
from ...results.base.columns import Rows
from ...results.certificates import Certificates


def certified_rows(
    batch: Batch, found: Radii, radius: Tensor, lipschitz: Tensor, finite: Tensor
) -> Rows:
    """Rows of a batch: latent radii, those in pixels, bounds, whether latents are finite."""
    radius = radius.cpu()
    label = torch.where(radius > 0, found.label.cpu(), -1)
    right = torch.full_like(label, -1)
    if batch.labels is not None:
        right = (label == batch.labels.cpu()).long()
    return table_rows(
        batch,
        {
            "status": (~finite).long() * int(Status.NON_FINITE),
            "label": label,
            "prediction": found.prediction,
            "clean_correct": right,
            "abstain": (label < 0).long(),
            "radius": torch.where(label >= 0, radius, 0.0),
            "latent_radius": found.radius,
            "lipschitz": lipschitz,
        },
    )


def nothing_known(batch: Batch) -> Rows:
    """Rows of a batch of which nothing is known; who calls says why, by `Rows.failed`."""
    none = torch.full((len(batch),), -1)
    names = ("label", "prediction", "clean_correct", "abstain")
    zeros = {name: torch.zeros(len(batch)) for name in ("radius", "latent_radius")}
    columns = {name: none for name in names} | zeros
    nan = torch.full((len(batch),), torch.nan)
    return table_rows(batch, {**columns, "status": 0 * none, "lipschitz": nan})


def raised_on(batch: Batch, error: ModelContractError) -> Rows:
    """FAILED rows of a batch on which the model raised; any other refusal is raised again."""
    return nothing_known(batch).failed(models_own(error))


def table_rows(batch: Batch, columns: dict[str, Tensor]) -> Rows:
    """Columns (N,) as rows of :class:`Certificates`, with ids and labels of the batch.

    Columns that are not given hold what a missing one does.
    """
    none = torch.full((len(batch),), -1)
    labels = none if batch.labels is None else batch.labels
    specs = Certificates.columns()
    absent = {s.name: 0 * none for s in specs if s.missing is not None}
    whole = {**absent, "ids": batch.ids, "reference": labels, **columns}
    dtypes = {spec.name: spec.dtype for spec in specs}
    return Rows(
        batch.index,
        {
            name: values.detach().cpu().to(dtypes.get(name, torch.int64))
            for name, values in whole.items()
        },
    )
