"""What is a stage? Something that turns one batch of checked images into rows of a result."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from torch import Tensor

from ...data.stream import Batch
from ...engines.judge.active import Judge, Judged
from ...errors import ModelContractError
from ...models.checks import ModelTraits
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
    unit: Unit = "row"

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

    def accepts(self, model: Any) -> None:
        """Raises ConfigError for a model that the stage cannot work on; asked before any pass.

        By default every model is accepted.
        """

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

    def finish(self, result: Result, tallies: Sequence[Tally] = ()) -> Result:
        """The result of all batches as one, with what only the stage knows of the whole run.

        tallies: of all rows, in the order of the data. Asked once, after the last batch; no forward
        pass. By default nothing is added.
        """
        return result
