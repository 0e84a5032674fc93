"""What is a stage? Something that turns one batch of checked images into rows of a result."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from ...data.stream import Batch
from ...engines.judge.active import Judge, Judged
from ...errors import ModelContractError
from ...models.checks import ModelTraits
from ...models.logits import LogitsView
from ...results.base.columns import Rows
from ...results.base.result import Result
from ..plan import Plan, plain_arguments


@dataclass(frozen=True, eq=False)
class Shared:
    """What all stages of one batch may use: the view of the model, the clean answers, K.

    view: Module, pixels to logits, with the meter. judge: decides failures. clean: the judged
    clean images. n_classes: K. traits: what the first rows showed of the model. model: its class,
    weights and size, as they were before the work; None asks again.
    """

    view: LogitsView
    judge: Judge
    clean: Judged
    n_classes: int
    traits: ModelTraits | None = None
    model: Mapping[str, Any] | None = None


@dataclass(frozen=True, eq=False)
class StageRows:
    """The result of one batch, and what a gallery may show of it.

    worst: rows (k,) of the batch, on its device -> their worst images (k, ...); None where there
    are none to show, or where they could not be shown again. prediction: (N,) int64, the answers
    to the worst images, where they are known. failure: what the model raised on rows of the batch
    that are FAILED.
    """

    result: Result
    worst: Callable[[Tensor], Tensor] | None = None
    prediction: Tensor | None = None
    failure: ModelContractError | None = None


class RowStage(ABC):
    """A stage that works batch by batch.

    A subclass sets `kind`, takes its arguments in `__init__` (refusing wrong ones before any
    pass) and writes :meth:`rows`. label: its name in the report. settings: its arguments in JSON
    types. needs: what must be shared. guarantee: what its number claims. cost_per_image: forward
    row-passes (and backward ones, where gradients are used), None where it depends on the model.
    """

    kind: ClassVar[str]
    guarantee: str = ""
    needs: ClassVar[tuple[str, ...]] = ("clean",)
    closes: ClassVar[bool] = False
    """Whether :meth:`close` has work to do."""

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

    def unfit(self, n_classes: int, shape: tuple[int, ...]) -> str | None:
        """Why the method has nothing to say of such a model and such images; None where it has.

        n_classes: K of the model. shape: of one image. Pure, asked before any pass of the stage;
        the stage is then not applicable, which is no failure. By default None.
        """
        return None

    @abstractmethod
    def rows(self, batch: Batch, shared: Shared) -> StageRows:
        """Rows of one batch, in its order; runs inside a session of the model.

        Flags that any result may need (NaN logits, a randomised model) and the cost are added
        by the runner.
        """

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

    def finish(self, result: Result) -> Result:
        """The result of all batches as one, with what only the stage knows of the whole run.

        Asked once, after the last batch; no forward pass. By default nothing is added.
        """
        return result
