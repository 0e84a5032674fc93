"""What is a stage? Something that turns one batch of checked images into rows of a result."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from ...data.stream import Batch, Stream
from ...engines.judge.active import Judge, Judged
from ...errors import InputError, ModelContractError
from ...models.checks import ModelTraits
from ...models.gradients import scores_only
from ...models.logits import LogitsView
from ...results.base.columns import Rows
from ...results.base.result import Result
from ..plan import Plan, plain_arguments

Unit = Literal["row", "group", "batch"]
"""What decides about a row beside itself: nothing, the rows of its group, those of its batch."""

Tally = Mapping[str, Any]
"""Facts about some rows in JSON types."""


@dataclass(frozen=True, eq=False)
class Shared:
    """What all stages of one batch may use: the view of the model, the clean answers, K.

    view: Module, pixels to logits, with the meter. judge: decides failures. clean: the judged
    clean images. n_classes: K. traits: what the first rows showed of the model. model: its class,
    weights and size, as they were before the work; None asks again. n_looked: rows of the batch
    that showed the traits.
    """

    view: LogitsView
    judge: Judge
    clean: Judged
    n_classes: int
    traits: ModelTraits | None = None
    model: Mapping[str, Any] | None = None
    n_looked: int = 2

    def logits(self, batch: Batch) -> Tensor:
        """Clean logits (N, K) of the batch, without a gradient: a forward row-pass a row.

        Two stages that ask both pay, so that neither costs more in a run that goes on.
        """
        with torch.no_grad():
            parts = torch.split(batch.images, self.judge.batch_size)
            return torch.cat([self.view(part) for part in parts])

    def on(self, clean: Judged) -> Shared:
        """The same for other rows, with their answers."""
        return replace(self, clean=clean)


@dataclass(frozen=True, eq=False)
class StageRows:
    """The result of one batch, and what a gallery may show of it.

    worst: rows (k,) of the batch, on its device -> their worst images (k, ...); None where there
    are none to show, or where they could not be shown again. prediction: (N,) int64, the answers
    to the worst images, where they are known. failure: what the model raised on rows of the batch
    that are FAILED. tally: what :meth:`RowStage.finish` must know of these rows beside the result,
    in JSON types, so that a run may end and go on between any two batches.
    """

    result: Result
    worst: Callable[[Tensor], Tensor] | None = None
    prediction: Tensor | None = None
    failure: ModelContractError | None = None
    tally: Tally = field(default_factory=dict)


class RowStage(ABC):
    """A stage that works batch by batch.

    A subclass sets `kind`, takes its arguments in `__init__` (refusing wrong ones before any
    pass) and writes :meth:`rows`. label: its name in the report. settings: its arguments in JSON
    types. needs: what must be shared. guarantee: what its number claims. cost_per_image: forward
    row-passes (and backward ones, where gradients are used), None where it depends on the model.
    unit: "row" takes batches as they come; "group" gets `group_size` rows in the order of the data,
    whatever the batches; "batch" takes them as they come, and its rows depend on that.

    A stage keeps nothing of its rows between two batches but what :meth:`recall` gives back:
    everything that the end needs goes into the tally of its rows.
    """

    kind: ClassVar[str]
    guarantee: str = ""
    needs: ClassVar[tuple[str, ...]] = ("clean",)
    closes: ClassVar[bool] = False
    """Whether :meth:`close` has work to do."""
    unit: Unit = "row"
    needs_gradient: bool = False
    """Whether the stage is nothing without a gradient of the scores."""

    def __init__(self, label: str, plan: Plan, settings: Mapping[str, Any]) -> None:
        self.label, self.plan = label, plan
        self.settings = plain_arguments(settings, f"stage {label!r}")

    @property
    def cost_per_image(self) -> float | None:
        """Row-passes an image, where they are known beforehand."""
        return None

    @property
    def notes(self) -> tuple[str, ...]:
        """Caveats for the reader of the report."""
        return ()

    @property
    def of_all(self) -> bool:
        """Whether the result is about all images together, and not about each."""
        return self.closes

    def accepts(self, model: Any) -> None:
        """Raises ConfigError for a model that the stage cannot work on; asked before any pass.

        By default every model is accepted.
        """

    def unfit(self, n_classes: int, shape: tuple[int, ...]) -> str | None:
        """Why the method has nothing to say of such a model and such images; None where it has.

        n_classes: K of the model. shape: of one image. Pure, asked before any pass of the stage;
        the stage is then not applicable, which is no failure. By default None.
        """
        return None

    def cannot(self, model: Any, n_classes: int, shape: tuple[int, ...]) -> str | None:
        """:meth:`unfit`, or that the method follows gradients where the model has none."""
        if self.needs_gradient and scores_only(model):
            return (
                "it follows gradients, and the model gives scores only; attacks that ask for "
                "scores: Square, SPSA, OnePixel, Pixle"
            )
        return self.unfit(n_classes, shape)

    @abstractmethod
    def rows(self, batch: Batch, shared: Shared) -> StageRows:
        """Rows of one batch, in its order; runs inside a session of the model.

        Flags that any result may need (NaN logits, a randomised model) and the cost are added
        by the runner.
        """

    def recall(self, tallies: Sequence[Tally]) -> None:
        """What earlier rows of the same run told, before the first rows of a run that goes on.

        By default nothing is done.
        """

    def shrink(self, size: int) -> None:
        """At most `size` rows a pass from now on, because memory was too short for more.

        Raises ConfigError where that would change what is measured.
        """
        self.plan = self.plan.model_copy(update={"batch_size": size})

    def failed(self, batch: Batch) -> Rows | None:
        """Rows of a batch of which nothing is known, because the model raised on it.

        By default None: the stage then ends with the model's words.
        """
        return None

    def close(self, result: Result, shared: Shared) -> Result:
        """What can be done only when all rows are there, with passes of its own.

        Asked once before :meth:`finish`, inside a session of the model, where `closes` is true.
        result: of all batches as one. shared: of the last batch. By default nothing is added.
        """
        return result

    def finish(self, result: Result, tallies: Sequence[Tally] = ()) -> Result:
        """The result of all batches as one, with what only the stage knows of the whole run.

        tallies: of all rows, in the order of the data. Asked once, after the last batch; no forward
        pass. By default nothing is added.
        """
        return result


@dataclass(frozen=True, eq=False)
class Whole:
    """What a stage may use after the last batch: the model, and the data once more.

    view, judge, traits, model: as in :class:`Shared`. stream: of the evaluated data. readable:
    whether they can be read again.
    """

    view: LogitsView
    judge: Judge
    traits: ModelTraits
    stream: Stream
    readable: bool = True
    model: Mapping[str, Any] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of every evaluated image. Raises InputError where they have several."""
        found = self.stream.shapes
        if len(found) != 1:
            raise InputError(
                f"the evaluated images have {len(found)} shapes, {sorted(found)[:2]}; a second set "
                "is held against images of one"
            )
        return next(iter(found))

    def again(self) -> Iterator[Batch]:
        """The evaluated rows, checked and with their ids, in the order in which they come now.

        Raises InputError for data that are used up.
        """
        if not self.readable:
            raise InputError(
                "the data are an iterator, which is used up after one pass, and this stage reads "
                "them twice; give a tensor, a Dataset, a DataLoader or a list of batches"
            )
        before = self.stream.copies, self.stream.groups
        try:
            yield from self.stream
        finally:  # what was counted in the first pass stays
            self.stream.copies, self.stream.groups = before


class SetStage(RowStage):
    """A stage that says something of the evaluated images as a whole.

    :meth:`rows` gives what must be known of each image and is kept like the rows of any stage;
    :meth:`reduce` makes the result of all of them, once, after the last batch.
    """

    @property
    def of_all(self) -> bool:
        """The set is what it is about."""
        return True

    @property
    def cost_once(self) -> float:
        """Row-passes beside those an evaluated image, as far as they are known beforehand."""
        return 0.0

    @abstractmethod
    def reduce(self, features: Result, whole: Whole) -> Result:
        """The result from the rows of all batches; runs inside a session of the model.

        Its cost is booked on the stage. What is drawn is a function of the plan's seed, so that a
        run that was interrupted gives the same.
        """
