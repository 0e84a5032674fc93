"""Has a stream left its reference? Look after look, with one chance of a false alarm for all."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import StateError
from ...numerics.drift.martingale import ConformalMartingale
from ...numerics.drift.ranks import ks_distance
from ...results.base.facts import Flag, merge_flags, warn_flags
from ...results.monitor.alert import Alert
from ...results.monitor.reference import Reference
from .check import SCORE, about
from .how import How
from .kept import Kept, Process, ProcessName, held_alone, read
from .measured import Measured, measure
from .steps import steps
from .whose import refuse_other_features, refuse_other_model, repeated


def look_at_stream(
    state: str | os.PathLike[str],
    reference: Reference,
    model: Any,
    data: Any,
    *,
    n: int | None = None,
    process: ProcessName | None = None,
    significance: float | None = None,
    seed: int | None = None,
    batch_size: int = 64,
    tag: str | None = None,
    prepared: Mapping[str, Any] | None = None,
    progress: bool = False,
) -> Alert:
    """Takes further images of a stream, and says whether it has ever left its reference.

    The score of each image enters a process that stays valid with one shared reference, after any
    number of looks: an alarm on a stream that is exchangeable with the reference has at most the
    chance `significance`, *ever*. "martingale" (the default) bets on the randomised rank of each
    score among those of the reference and of all earlier images; "bands" holds the distribution
    functions of both apart by two time-uniform bands, at half the level each, which needs far
    larger or longer shifts. An alarm stays: start a new state after what the run-book says.

    Args:
        state: a JSON file that keeps the process between looks; made by the first one. It is
            replaced in one step, so that a look that is killed was no look. Its size is bounded.
        reference, model, data, n, batch_size, tag, prepared, progress: as for
            :func:`~.check.check_batch`; one image is enough.
        process, significance, seed: of the first look ("martingale", .01, 0); later ones take them
            from the state, and refuse others.

    Returns:
        An :class:`~torchattacks_ext.results.monitor.Alert` of kind "stream".

    Raises:
        StateError: a state of another reference or other settings, images that were a look already
            (of the last 4,096), another model. InputError, ConfigError: as check_batch. In each
            case nothing was counted.

    Cost: the row-passes of the fit an image, then 10 us an image.

    >>> import tempfile
    >>> from torchattacks_ext.evaluation.monitor import fit_reference
    >>> from torchattacks_ext.testing.props import balanced_net, example_images
    >>> net, images = balanced_net(), example_images(160)
    >>> known = fit_reference(net, images[:110])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = f"{folder}/stream.json"
    ...     looks = [images[110:130], images[130:], images[110:] / 4, images[130:150] / 4]
    ...     [look_at_stream(path, known, net, part).alarm for part in looks]
    [False, False, True, True]
    """
    path, asked = Path(state), _asked(reference, process, significance, seed)
    _agreed(path, asked, process, significance, seed)  # before any pass
    how = How.of(reference.settings, dict(prepared or {}), batch_size)
    refuse_other_model(reference, model, tag)
    like = reference.settings
    seen = measure(model, data, how, n=n, like=like, progress=progress)
    refuse_other_features(reference, seen)
    doubts = merge_flags([reference.flags, seen.flags, repeated(reference, seen)])
    with held_alone(path):
        kept = _agreed(path, asked, process, significance, seed)
        kept.refuse_seen(seen.sha256, len(seen))
        running = kept.running(reference)
        running.look(seen.scores.numpy())
        later = kept.after(running, seen.sha256, seen.scores.tolist())
        later.write(path)
    found = _alert(reference, seen, later, running, doubts)
    warn_flags(found.flags)
    return found


def _asked(
    reference: Reference,
    process: ProcessName | None,
    significance: float | None,
    seed: int | None,
) -> Kept:
    """The stream as the first look would start it. Raises ConfigError for settings outside."""
    return Kept(
        reference.digest,
        process or "martingale",
        0.01 if significance is None else significance,
        seed or 0,
    )


def _agreed(path: Path, asked: Kept, *given: Any) -> Kept:
    """The stream of the file, or a new one. StateError where it is of something else."""
    kept = read(path)
    if kept is None:
        return asked
    if kept.reference != asked.reference:
        raise StateError(
            f"the state {str(path)!r} is of another reference; give that one, or a new state"
        )
    for name, value in zip(("process", "significance", "seed"), given):
        was = getattr(kept, name)
        if value is not None and value != was:
            raise StateError(
                f"the state {str(path)!r} was started with {name}={was!r}, and {value!r} is given "
                "now: a level that changes between looks holds nothing; leave it out, or start a "
                "new state"
            )
    return kept


def _alert(
    reference: Reference,
    seen: Measured,
    kept: Kept,
    running: Process,
    flags: tuple[Flag, ...],
) -> Alert:
    alarm = running.alarm_at is not None
    known, last = reference.scores.numpy(), np.array(kept.last)
    above = float((last > np.median(known)).mean())
    return Alert(
        kind="stream",
        alarm=alarm,
        significance=kept.significance,
        guarantee=(
            "a stream that is exchangeable with the reference alarms with a chance of at most "
            f"{kept.significance:g} at any look, ever; about the score alone"
        ),
        n=len(seen),
        n_reference=len(reference),
        distance=ks_distance(known, last),
        above=above,
        process=_facts(kept, running),
        runbook=steps([SCORE], above) if alarm else (),
        flags=flags,
        reference=about(reference),
        model=reference.model,
        data={"n": len(seen), "sha256": seen.sha256},
        settings={"seed": kept.seed},
        cost=seen.cost,
        provenance=seen.provenance,
    )


def _facts(kept: Kept, running: Process) -> dict[str, Any]:
    """Where the process stands."""
    found = {
        "name": kept.process,
        "looks": kept.looks,
        "n": running.n,
        "alarm_look": kept.alarm_look,
        "alarm_at": running.alarm_at,
    }
    if isinstance(running, ConformalMartingale):
        edge = -math.log(kept.significance)
        return found | {
            "log_capital": running.log_capital,
            "most": running.most,
            "edge": edge,
        }
    return found | {"distance": running.distance, "edge": running.limit}
