"""Are the evaluated images sound, and not those of the training? The audit of data as a stage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ....data.audit.audit import audited
from ....data.stream import Batch
from ....errors import ConfigError
from ....numerics.arguments import parse_real
from ....numerics.likeness.pairs import THRESHOLD
from ....results.base.columns import Rows, Table
from ....results.base.facts import Flag
from ....results.base.result import Result
from ....results.datasets.audited import Audited
from ...plan import Plan
from ..base import SetStage, Shared, StageRows, Whole
from ..clean import labels_of
from ..probing import origin_of, refuse_unknown
from .source import source_of

ARGUMENTS = ("train", "val", "near")
EVALUATED = "test"


class DataAuditStage(SetStage):
    """:func:`~torchattacks_ext.data_audit` of the evaluated images, and of those of the training.

    Arguments: train, val, data sets that the model has seen: names such as "npz:PATH" or, in
    Python, images, (images, labels), a Dataset or a DataLoader; without them the evaluated images
    are audited alone. near, the likeness of near copies in (0, 1] (default .99), or None. The model
    plays no part. Raises ConfigError for others and for values outside their domains.
    """

    kind = "data-audit"
    guarantee = (
        "exact copies and counts are facts; near copies are a suspicion; nothing is said of images "
        "that were not given"
    )
    needs = ()

    def __init__(self, label: str, plan: Plan, settings: Mapping[str, Any]) -> None:
        super().__init__(label, plan, settings)
        refuse_unknown(self.kind, settings, ARGUMENTS)
        self._near = settings.get("near", THRESHOLD)
        if self._near is not None:
            self._near = parse_real(self._near, "near")
            if not 0 < self._near <= 1:
                raise ConfigError(
                    f"near={self._near!r} is not in (0, 1]; give 0.99, or None"
                )
        self._sources = {
            name: source_of(name, name, settings[name])
            for name in ("train", "val")
            if settings.get(name) is not None
        }
        self._origin: Mapping[str, Any] = {}

    @property
    def cost_per_image(self) -> float | None:
        """No row-pass."""
        return 0.0

    @property
    def notes(self) -> tuple[str, ...]:
        """What was not looked for."""
        if "train" in self._sources:
            return ()
        return ("no training images were given: copies of them were not looked for",)

    def rows(self, batch: Batch, shared: Shared) -> StageRows:
        """Which rows were evaluated; what they show is looked at in the end."""
        if not self._origin:
            self._origin = origin_of(shared, batch.images.device, self.plan)
        result = Audited.from_table(
            Table([replace(self.failed(batch), index=torch.arange(len(batch)))]),
            settings={"method": self.kind, "near": self._near},
            provenance=self._origin,
            groups=batch.groups,
        )
        return StageRows(result)

    def failed(self, batch: Batch) -> Rows:
        """The same rows: a model that raised says nothing of the data."""
        none = torch.full((len(batch),), -1, dtype=torch.int8)
        columns = {
            "ids": batch.ids.cpu(),
            "status": torch.zeros_like(none),
            "reference": labels_of(batch).cpu(),
            "in_training": none,
            "repeats": none.clone(),
        }
        return Rows(batch.index, columns)

    def reduce(self, features: Result, whole: Whole) -> Result:
        """The audit of all sets, and what it says of each evaluated row."""
        assert isinstance(features, Audited)
        ids: list[Tensor] = []
        splits: dict[str, Any] = {
            name: (
                source.images
                if source.labels is None
                else (source.images, source.labels)
            )
            for name, source in self._sources.items()
        }
        splits[EVALUATED] = _read(whole.again(), ids)
        audit, found = audited(splits, self._near)
        rows = features.find(torch.cat(ids))
        marks = {
            name: torch.from_numpy(found.marks[EVALUATED, name]) for name in splits
        }
        seen = [marks[name] for name in self._sources]
        columns = {"repeats": marks[EVALUATED]}
        if seen:
            columns["in_training"] = torch.stack(seen).amax(0)
        placed = {}
        for name, codes in columns.items():
            placed[name] = getattr(features, name).clone()
            placed[name][rows[rows >= 0]] = codes[rows >= 0]
        told = {name: source.told for name, source in self._sources.items()}
        prints = {one.name: one.fingerprint for one in audit.splits}
        facts = {"sources": told, "fingerprints": prints}
        result = replace(
            features, **placed, audit=audit, settings={**features.settings, **facts}
        )
        return result.with_flags(_flags(result))


def _read(batches: Iterator[Batch], ids: list[Tensor]) -> Iterator[dict[str, Tensor]]:
    """The evaluated batches as an audit reads them; their ids are taken note of."""
    for batch in batches:
        ids.append(batch.ids.cpu())
        yield {"images": batch.images.cpu(), "labels": labels_of(batch).cpu()}


def _flags(result: Audited) -> Iterator[Flag]:
    """Findings as doubts of the run; those that other flags tell already are quiet."""
    assert result.audit is not None
    for flag in result.audit.flags:
        yield Flag(
            f"data_{flag.code}", f"data audit: {flag.count} {flag.message}", flag.count
        )
