"""What happens around the rows of a measurement?

Flags, provenance, resume, the bar.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import torch

from ..._typing import Status
from ...data.stream import Stream
from ...errors import ModelContractError, StateError
from ...models.meter import Budget
from ...results.base.columns import Table
from ...results.base.facts import Cost, Flag, merge_flags, resumes, warn_flags
from ...results.base.origin import groups_hash, selections
from ...results.base.result import Result
from ...results.base.sidecar import SideCar
from ...results.grounds import OF_MODEL

T = TypeVar("T")
logger = logging.getLogger("torchattacks_ext")


def late(step: Callable[[], T], otherwise: T, what: str, doubts: list[Flag]) -> T:
    """What a step after the rows gives; where it raises, `otherwise` and a doubt that says so.

    what: is not there then. Finished rows are never lost to what merely stands beside them.

    >>> found: list[Flag] = []
    >>> late(lambda: 1 // 0, 0, "its ratio", found), found[0].message
    (0, 'its ratio is not known: ZeroDivisionError: integer division or modulo by zero')
    """
    try:
        return step()
    except Exception as error:
        text = f"{what} is not known: {type(error).__name__}: {error}"
        doubts.append(Flag("late_step", text))
        return otherwise


@contextlib.contextmanager
def bar(total: int | None, name: str, progress: bool) -> Iterator[Any]:
    """A tqdm bar over images; silent where it is not asked for or the output is no terminal."""
    from tqdm.auto import tqdm

    with tqdm(
        total=total, desc=name, unit="image", disable=None if progress else True
    ) as shown:
        yield shown


@contextlib.contextmanager
def interruptible(budget: Budget | None) -> Iterator[None]:
    """The first Ctrl-C inside ends the budget, so that a run ends with what is known.

    The second one is raised. So is the first outside of the main thread, and where a handler of
    somebody else's listens.
    """
    mine = threading.current_thread() is threading.main_thread()
    usual = signal.default_int_handler
    if budget is None or not mine or signal.getsignal(signal.SIGINT) is not usual:
        yield
        return

    def end(*_: Any) -> None:
        signal.signal(signal.SIGINT, usual)
        budget.stop()
        logger.warning("interrupted: the run ends with what is known; again: at once")

    signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)


def flags_of(result: Result, stream: Stream, trained: bool) -> Iterator[Flag]:
    """What speaks against any method's result; trained: parts of the model ran in training mode."""
    if stream.traits is not None:
        yield from stream.traits.flags()
    if stream.resume is not None:  # draws that were made keep what was seen then
        yield from (flag for flag in stream.resume.flags if flag.code in OF_MODEL)
    yield from stream.doubts()
    yield from stream.copies.flags()
    if trained:
        yield Flag(
            "training_mode",
            "the model ran in training mode as set_model_training_mode asked; numbers are not "
            "those of the deployed model",
        )
    status = getattr(result, "status", torch.zeros(0))
    bad = int((status == int(Status.NON_FINITE)).sum())
    if bad:
        yield Flag("non_finite", f"{result.no_number}; counted as failures", bad)
    late = int((status == int(Status.NOT_REACHED)).sum())
    if late or (stream.budget is not None and stream.budget.spent):
        stopped = stream.budget is not None and stream.budget.stopped
        text = (
            f"{'Ctrl-C' if stopped else 'max_queries or max_seconds'} ended the run early; rows "
            "that were not reached, or not finished, are UNDECIDED"
        )
        earlier = getattr(stream.resume, "status", status[:0])
        before = int((earlier == int(Status.NOT_REACHED)).sum())
        if stopped:
            text += "; resume= goes on with them"
        elif late and (
            late == len(status) or (late == before and not _by_draws(result))
        ):
            text += (
                "; no row was finished, and with the same budget resume= gets no further: give a "
                "larger one"
            )
        yield Flag("budget_spent", text, late)


def _by_draws(result: Result) -> bool:
    """Whether rows that are not finished go on from what they have."""
    return hasattr(result, "n_samples")


def history(stream: Stream) -> dict[str, int]:
    """How often the run was gone on with, as provenance; {} where it is a first one."""
    if stream.resume is None:
        return {}
    before = resumes([stream.resume.provenance])
    return {"resumed": before.get("resumed", 0) + 1}


def result_of(
    result_type: type[Result],
    table: Table,
    stream: Stream,
    *,
    settings: Mapping[str, Any],
    provenance: Mapping[str, Any],
    cost: Cost,
    sidecars: tuple[SideCar, ...],
) -> Result:
    """The result of finished rows, with the cost of what it goes on with.

    Raises StateError where the rows are not those of the earlier result, ModelContractError where
    no image got finite logits.
    """
    earlier = stream.resume
    if earlier is not None and len(table) != len(earlier):
        raise StateError(
            f"resume= holds {len(earlier)} images, the data {len(table)}; give the same data"
        )
    groups = groups_hash(table.columns(())["ids"], stream.groups)
    part = {} if earlier is None else {"selection": selections(earlier.provenance)}
    result = result_type.from_table(
        table,
        settings=settings,
        provenance={
            **provenance,
            "groups": groups,
            **{k: v for k, v in part.items() if v},
        },
        cost=cost if earlier is None else cost + earlier.cost,
        sidecars=sidecars if earlier is None else (*earlier.sidecars, *sidecars),
        groups=stream.groups,
    )
    status = getattr(result, "status", None)
    if status is not None and len(status) and (status == int(Status.NON_FINITE)).all():
        raise ModelContractError(
            f"all {len(status)} images gave {result.no_number}; check the weights, the dtype and "
            "the scale of the input"
        )
    return result


def flagged(result: Result, found: Iterable[Flag]) -> Result:
    """The result with its flags, and one ReliabilityWarning each, at the caller of `measure`."""
    flags = merge_flags([found])
    warn_flags(flags, stacklevel=5)
    return result.with_flags(flags)
