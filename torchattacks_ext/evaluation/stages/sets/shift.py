"""How much accuracy is lost on a second test set? Both sets under the same model, as a stage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ....data.stream import Batch
from ....errors import ConfigError, InputError
from ....numerics.arguments import parse_whole
from ....results.accuracy import Accuracy
from ....results.base.columns import Rows, Table
from ....results.base.facts import Flag
from ....results.base.result import Result
from ....results.datasets.shift import Shift
from ...plan import Plan
from ..base import SetStage, Shared, StageRows, Whole
from ..clean import labels_of, status_of
from ..probing import origin_of, refuse_unknown
from .source import source_of

ARGUMENTS = ("other", "paired", "n", "adapt")
PAIRED = ("ids", "rows", "no")


class ShiftStage(SetStage):
    """Accuracy on the evaluated images and on a second labelled set, and how much is lost.

    Arguments: other, the second set: a name such as "npz:PATH" or, in Python, (images, labels), a
    Dataset or a DataLoader. paired: "rows" where row i of both shows the same thing in the order of
    the data, "ids" where rows of equal `sample_ids` do (the default; without such ids nothing is
    paired), "no". n: at most so many images of it. adapt: as in stage "ood". Raises ConfigError for
    others, for values outside their domains, and without `other`.
    """

    kind = "shift"
    guarantee = "exact on these images; the interval of the drop is nominal"

    def __init__(self, label: str, plan: Plan, settings: Mapping[str, Any]) -> None:
        super().__init__(label, plan, settings)
        refuse_unknown(self.kind, settings, ARGUMENTS)
        if settings.get("other") is None:
            raise ConfigError(
                "stage 'shift' needs other=, a second labelled set, say npz:PATH"
            )
        self._paired = settings.get("paired", "ids")
        if self._paired not in PAIRED:
            raise ConfigError(f"paired={self._paired!r} is not one of {PAIRED}")
        n, adapt = settings.get("n"), settings.get("adapt", False)
        if not isinstance(adapt, bool):
            raise ConfigError(f"adapt={adapt!r} must be True or False")
        self._source = source_of(
            "other",
            "other",
            settings["other"],
            n=None if n is None else parse_whole(n, "n", 1),
            adapt=adapt,
            need_labels=True,
        )
        self._origin: Mapping[str, Any] = {}

    @property
    def cost_per_image(self) -> float | None:
        """None of its own: the clean answers are shared. An image of the second set is one pass."""
        return 0.0

    @property
    def cost_once(self) -> float:
        """One forward row-pass an image of the second set; 0 where its length is not known."""
        return float(self._source.size or 0)

    def rows(self, batch: Batch, shared: Shared) -> StageRows:
        """The shared clean answers as rows; no further pass."""
        if not self._origin:
            self._origin = origin_of(shared, batch.images.device, self.plan)
        seen = shared.clean
        columns = {
            "ids": batch.ids.cpu(),
            "status": status_of(seen),
            "reference": labels_of(batch).cpu(),
            "prediction": torch.from_numpy(seen.prediction),
            "clean_correct": torch.from_numpy(~seen.failed).to(torch.int8),
            "place": batch.index.cpu(),
            "partner": torch.full((len(batch),), -1),
        }
        result = Shift.from_table(
            Table([Rows(torch.arange(len(batch)), columns)]),
            settings={"method": self.kind, "outputs": self.plan.outputs},
            provenance=self._origin,
            groups=batch.groups,
        )
        return StageRows(result)

    def failed(self, batch: Batch) -> Rows:
        """Rows without an answer."""
        none = torch.full((len(batch),), -1)
        columns = {
            "ids": batch.ids.cpu(),
            "status": none.to(torch.int8),
            "reference": labels_of(batch).cpu(),
            "prediction": none,
            "clean_correct": none.to(torch.int8),
            "place": batch.index.cpu(),
            "partner": none,
        }
        return Rows(batch.index, columns)

    def reduce(self, features: Result, whole: Whole) -> Result:
        """The second set's answers, and which rows show the same thing."""
        assert isinstance(features, Shift)
        other = Accuracy.concat(self._answers(whole))
        partner = self._partners(features, other)
        facts = {
            "other": {
                "source": self._source.told,
                "n": len(other),
                "digest": other.digest(),
            },
            "paired": self._paired if bool((partner >= 0).any()) else "no",
        }
        result = replace(
            features,
            other=other,
            partner=partner,
            settings={**features.settings, **facts},
        )
        return result.with_flags(_doubts(result))

    def _answers(self, whole: Whole) -> Iterator[Accuracy]:
        for batch in self._source.batches(whole, self.plan, whole.shape):
            labels = labels_of(batch)
            with torch.no_grad():
                rows = partial(_part, batch.images, labels)
                seen = whole.judge.judge(len(batch), rows, None)
            assert seen is not None  # no budget
            yield Accuracy(
                ids=batch.ids.cpu(),
                groups=batch.groups,
                settings={"method": "clean", "outputs": self.plan.outputs},
                status=status_of(seen),
                reference=labels.cpu(),
                prediction=torch.from_numpy(seen.prediction),
                clean_correct=torch.from_numpy(~seen.failed).to(torch.int8),
                margin=torch.from_numpy(seen.margin),
            )

    def _partners(self, features: Shift, other: Accuracy) -> Tensor:
        """(N,) rows of `other`. Raises InputError where rows that are to be pairs are none."""
        if self._paired == "no":
            return torch.full((len(features),), -1)
        if self._paired == "ids":
            return other.find(features.ids)
        if not len(features) or int(features.place.max()) >= len(other):
            raise InputError(
                f"paired='rows' needs as many images in other= as are evaluated; there are "
                f"{len(other)} for row {int(features.place.max())}"
            )
        odd = int((other.reference[features.place] != features.reference).sum())
        if odd:
            raise InputError(
                f"paired='rows', but {odd} of {len(features)} labels differ at the same rows; give "
                "both sets in one order, or leave out paired="
            )
        return features.place.clone()


def _part(images: Tensor, labels: Tensor, part: slice) -> tuple[Tensor, Tensor]:
    return images[part], labels[part]


def _doubts(result: Shift) -> Iterator[Flag]:
    """Rows of which only some have a partner: then none is used."""
    alone = int((result.partner < 0).sum())
    if 0 < alone < len(result):
        text = (
            f"{alone} of {len(result)} images have no partner in the second set, so that the two "
            "are compared as different images"
        )
        yield Flag("partly_paired", text, alone)
    other = result.other
    classes = set(result.reference.tolist())
    if other is not None and classes != set(other.reference.tolist()):
        text = "the two sets do not hold the same classes: the drop is of the classes as well"
        yield Flag("other_classes", text)
