"""Does one batch come from where the reference came from? Three tests, one stated false alarm."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...errors import ConfigError, InputError
from ...numerics.arguments import check_probabilities, parse_seed, parse_whole
from ...numerics.drift.kernels import mmd_test
from ...numerics.drift.numbers import FloatArray
from ...numerics.drift.ranks import KSTests, ks_by_feature, ks_test
from ...numerics.populations.multiplicity import adjust
from ...results.base.facts import merge_flags, warn_flags
from ...results.monitor.alert import LISTED, Alert, DriftTest, MovedFeature
from ...results.monitor.reference import MOST_ROWS, Reference
from .how import How
from .measured import Measured, measure
from .steps import steps
from .whose import refuse_other_features, refuse_other_model, repeated

LEAST = 20
"""Images of a batch: fewer would pass whatever they show."""
ROUNDED = 1e-3
"""Of the spread of a feature, the 90 % quantile over them."""
MMD, SCORE, FEATURES = "MMD of features", "KS of the score", "KS by feature"


def check_batch(
    reference: Reference,
    model: Any,
    data: Any,
    *,
    n: int | None = None,
    significance: float = 0.01,
    permutations: int = 1000,
    seed: int = 0,
    batch_size: int = 64,
    tag: str | None = None,
    prepared: Mapping[str, Any] | None = None,
    progress: bool = False,
) -> Alert:
    """Holds one batch of images against a reference.

    Three tests: MMD of the features and Kolmogorov-Smirnov of the score, with permutation p-values
    that are exact at any size, and Kolmogorov-Smirnov feature by feature with scipy's p-values and
    Holm over them. Holm again over the three: an alarm on a clean batch has at most the chance
    `significance`, over draws of reference and batch from one law. Several batches against one
    reference are not independent of each other, and each has its own chance of an alarm: for them
    take :func:`~.look.look_at_stream`.

    Args:
        reference: of :func:`~.fit.fit_reference`, or read by `Reference.load`.
        model: the model of the reference; another one is refused by its hash.
        data: 20 to 4,000 images, other ones than those of the reference; as for the fit.
        n: at most so many, the first ones.
        significance: chance of a false alarm, in (0, 1).
        permutations: relabellings; the least p-value of a test is 1 / (permutations + 1), which
            Holm multiplies by three: refused where that could never alarm.
        seed: of the relabellings.
        batch_size: rows of one forward pass.
        progress: show a bar.
        tag, prepared: as they were for the fit.

    Returns:
        An :class:`~torchattacks_ext.results.monitor.Alert`, with a run-book where there is an
        alarm.

    Raises:
        StateError: another model. ConfigError: settings, images prepared otherwise. InputError:
        data, another shape, too few images, features that are no numbers.

    Cost: the row-passes of the fit an image; then no pass, and .2 s with m = 1,000, n = 200 and 512
    features.

    >>> from torchattacks_ext.evaluation.monitor import fit_reference
    >>> from torchattacks_ext.testing.props import balanced_net, example_images
    >>> net, images = balanced_net(), example_images(160)
    >>> known = fit_reference(net, images[:110])
    >>> check_batch(known, net, images[110:]).alarm
    False
    >>> check_batch(known, net, images[110:] / 2).alarms
    ('MMD of features', 'KS of the score', 'KS by feature')
    """
    check_probabilities(significance=significance)
    permutations, seed = parse_whole(permutations, "permutations", 1), parse_seed(seed)
    if 3 / (permutations + 1) > significance:
        raise ConfigError(
            f"permutations={permutations} can never alarm at significance={significance:g}: the "
            f"least p-value is 1 / {permutations + 1}, and three tests share the level; give at "
            f"least {math.ceil(3 / significance)}"
        )
    how = How.of(reference.settings, dict(prepared or {}), batch_size)
    refuse_other_model(reference, model, tag)
    like = reference.settings
    seen = measure(
        model, data, how, n=n, like=like, allowed=_check_size, progress=progress
    )
    refuse_other_features(reference, seen)
    found = held(reference, seen, significance, permutations, seed)
    warn_flags(found.flags)
    return found


def held(
    reference: Reference,
    seen: Measured,
    significance: float,
    permutations: int,
    seed: int,
) -> Alert:
    """The alert of measured images; no row-pass."""
    x, y = reference.features.double().numpy(), seen.features.double().numpy()
    scores, new = reference.scores.numpy(), seen.scores.numpy()
    mmd = mmd_test(x, y, permutations=permutations, seed=seed)
    score = ks_test(scores, new, permutations=permutations, seed=seed)
    each = ks_by_feature(*_rounded(x, y))
    raw = [
        (MMD, mmd.statistic, mmd.p_value),
        (SCORE, score.distance, score.p_value),
        (FEATURES, float(each.distance.max()), float(each.adjusted.min())),
    ]
    adjusted = adjust([p for _, _, p in raw], "holm").tolist()
    tests = tuple(
        DriftTest(
            name=name,
            statistic=statistic,
            p_value=p,
            adjusted=holm,
            alarm=holm <= significance,
        )
        for (name, statistic, p), holm in zip(raw, adjusted)
    )
    alarm = any(test.alarm for test in tests)
    moved = _moved(each, significance) if tests[2].alarm else []
    above = float((new > np.median(scores)).mean())
    m, n = len(scores), len(new)
    flags = merge_flags([reference.flags, seen.flags, repeated(reference, seen)])
    return Alert(
        kind="batch",
        alarm=alarm,
        significance=significance,
        guarantee=(
            f"a clean batch alarms with a chance of at most {significance:g}, all three tests "
            "together (Holm), over draws of reference and batch; a further batch against the same "
            "reference has a chance of its own"
        ),
        n=n,
        n_reference=m,
        distance=max([score.distance, *(one.distance for one in moved)]),
        least=math.sqrt(math.log(6 / significance) / 2 * (m + n) / (m * n)),
        above=above,
        tests=tests,
        moved=tuple(moved[:LISTED]),
        n_moved=len(moved),
        runbook=steps([t.name for t in tests if t.alarm], above) if alarm else (),
        flags=flags,
        reference=about(reference),
        model=reference.model,
        data={"n": n, "sha256": seen.sha256},
        settings={"permutations": permutations, "seed": seed},
        cost=seen.cost,
        provenance=seen.provenance,
    )


def _check_size(n: int) -> None:
    """InputError unless so many images can be a batch."""
    if not LEAST <= n <= MOST_ROWS:
        raise InputError(
            f"a batch has {LEAST} to {MOST_ROWS:,} images, here are {n:,}: "
            + (
                "so few would pass whatever they show; wait for more, or look at a stream"
                if n < LEAST
                else f"give n={MOST_ROWS}, or parts of it as a stream"
            )
        )


def about(reference: Reference) -> dict[str, Any]:
    """Which reference it was, in JSON types."""
    keys = ("score", "place", "prepared")
    own = {key: reference.settings.get(key) for key in keys}
    return {"digest": reference.digest, "n": len(reference), **own}


def _rounded(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Features to a thousandth of a usual spread: that a dead one has other last digits on another
    device, or in another batch size, is no shift.
    """
    step = ROUNDED * float(np.quantile(np.concatenate([x, y]).std(0), 0.9))
    return (np.rint(x / step), np.rint(y / step)) if step > 0 else (x, y)


def _moved(each: KSTests, significance: float) -> list[MovedFeature]:
    """Features whose adjusted p-value is small, the farthest first."""
    rows = np.flatnonzero(each.adjusted <= significance)
    order = rows[np.argsort(-each.distance[rows], kind="stable")]
    return [
        MovedFeature(
            feature=int(j),
            distance=float(each.distance[j]),
            adjusted=float(each.adjusted[j]),
        )
        for j in order
    ]
