"""Which checks do columns make, and which cause does a flag name? One function a phase.

Thresholds are those of the sources where they name one; where none does, the reason stands beside
the number. Shares are held against them beyond the luck of few images (:func:`.check.exceeds`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..._typing import Status
from ..base.shares import reached
from ..base.words import percent_of
from .check import Check, exceeds, outweighs
from .words import NOT_ASKED, WORDS

SOME = 0.05
"""Of missing gradients: beyond so many images what an attack leaves is off by more than any source
allows (.2 to 2 points), whatever the rest of it does."""
MOST = 0.5
"""Where a mark must be that of the model and not of some images: most of them."""
AA_POINTS, CARLINI_POINTS, MSA_POINTS = 0.002, 0.01, 0.02
LATE = 0.05
UNSTABLE = 0.1
GAP = 0.1
"""Of the two losses: the case that made users ask had 17 points, honest nets have up to 5."""
CORRELATION = 0.5


@dataclass(frozen=True, eq=False)
class Seen:
    """Columns of the rows that were looked at, and what is known of the model."""

    columns: Mapping[str, Tensor]
    traits: Mapping[str, Any]
    rows: Tensor

    def of(self, name: str) -> Tensor:
        """(M,) a column of right rows."""
        return self.columns[name][self.rows]

    def yes(self, name: str) -> Tensor:
        """(M,) bool: 1 in the column."""
        return self.of(name) == 1

    def asked(self, *names: str) -> bool:
        """Whether the columns were asked of any right row."""
        return all(bool((self.of(name) >= 0).any()) for name in names)


def checks_of(
    columns: Mapping[str, Tensor], traits: Mapping[str, Any]
) -> tuple[Check, ...]:
    """All checks, in the order of :data:`.words.NAMES`, of columns (N,) and traits of the model."""
    right = (columns["clean_correct"] == 1) & (columns["status"] == int(Status.OK))
    seen = Seen(columns, traits, right)
    return (
        *_answers(seen),
        *_gradients(seen),
        *_steps(seen),
        *_runs(seen),
        *_searches(seen),
        *_surrogates(seen),
    )


def _made(
    name: str,
    value: float,
    threshold: float,
    flag: bool,
    cause: str = "",
    **numbers: Any,
) -> Check:
    """A check in words; one whose value is nan was not asked."""
    source, yes, no = WORDS[name]
    if math.isnan(value):
        return Check(name, value, threshold, False, source, NOT_ASKED, cause)
    said = (yes if flag else no).format(
        value=value, share=percent_of(max(value, 0.0)), **numbers
    )
    return Check(name, value, threshold, flag, source, said, cause)


def _share(
    name: str,
    hits: Tensor,
    threshold: float,
    cause: str = "",
    asked: bool = True,
    **more: Any,
) -> Check:
    """A check of the share of hits (M,) bool."""
    n, k = len(hits), int(hits.sum())
    value = k / n if n and asked else math.nan
    flag = asked and exceeds(hits, threshold)
    return _made(name, value, threshold, flag, cause, k=k, n=n, **more)


def _trait(seen: Seen, name: str, key: str, cause: str) -> Check:
    if key not in seen.traits:  # of an earlier version, which did not look
        return _made(name, math.nan, 0.0, False, cause)
    found = bool(seen.traits[key])
    return _made(name, float(found), 0.0, found, cause)


def _answers(seen: Seen) -> Iterator[Check]:
    """Non-finite, probabilities, randomness, batches, rounding."""
    status = seen.columns["status"]
    answered = status[reached(status)]
    odd = answered == int(Status.NON_FINITE)
    k, n = int(odd.sum()), len(odd)
    value = k / n if n else math.nan
    yield _made("finite_outputs", value, 0.0, k > 0, "non_finite_outputs", k=k, n=n)
    yield _trait(
        seen, "looks_like_probs", "looks_like_probs", "probabilities_as_logits"
    )
    yield _trait(seen, "randomised_model", "randomised", "randomised")
    yield _trait(seen, "batch_dependent_model", "batch_dependent", "batch_dependent")
    yield _trait(seen, "optimises_inside", "differentiates", "optimises_inside")
    hard = seen.yes("hard")
    yield _share("hard_outputs", hard, MOST, "hard_labels", seen.asked("hard"))
    again = _finite(seen.of("repeated"))
    value = float(again.mean()) if len(again) else math.nan
    flag = value > MOST and not exceeds(hard, MOST)
    yield _made("rounded_outputs", value, MOST, flag, "rounded_logits")


def _finite(values: Tensor) -> Tensor:
    return values[~values.isnan()]


def _gradients(seen: Seen) -> Iterator[Check]:
    """Odd, absent, zero, saturated."""
    asked = seen.asked("ce_zero_clean")
    odd, absent = seen.yes("gradient_odd"), seen.yes("gradient_absent")
    yield _share("odd_gradients", odd, SOME, "non_finite_gradient", asked)
    still = seen.yes("margin_zero_clean") & seen.yes("margin_zero_start")
    why = _why_still(seen)
    yield _share("unavailable_gradients", absent, SOME, why, asked)
    yield _share("zero_gradients", still, SOME, why, asked)
    gone = seen.yes("ce_zero_clean") & ~seen.yes("margin_zero_clean")
    gone |= seen.yes("ce_zero_start") & ~seen.yes("margin_zero_start")
    yield _share("saturated_loss", gone, SOME, "saturated_loss", asked)


def _why_still(seen: Seen) -> str:
    """What a zero gradient comes from: scores or inputs on a grid say so themselves."""
    if exceeds(seen.yes("hard"), MOST):
        return "hard_labels"
    again = _finite(seen.of("repeated"))
    if len(again) and float(again.mean()) > MOST:
        return "rounded_logits"
    return "quantised_input" if exceeds(_on_a_grid(seen), MOST) else "gradient_killed"


def _on_a_grid(seen: Seen) -> Tensor:
    return seen.yes("flat") & seen.yes("moves")


def _steps(seen: Seen) -> Iterator[Check]:
    """What steps without any attack show."""
    asked = seen.asked("flat")
    again = _finite(seen.of("repeated"))
    own = not (len(again) and float(again.mean()) > MOST)
    grid = _on_a_grid(seen)
    cause = "quantised_input" if own else "rounded_logits"
    yield _share("flat_steps", grid, MOST, cause, asked)
    still = seen.yes("margin_zero_start")
    rough = _finite(seen.of("rough")[~still])
    value = float(rough.median()) if len(rough) else math.nan
    jumps = exceeds(rough > MOST, MOST) and not exceeds(grid, MOST)
    yield _made("rough_gradients", value, MOST, jumps, "shattered_gradient")
    noise = _finite(seen.of("unstable"))
    value = float(noise.clamp(max=1).mean()) if len(noise) else math.nan
    yield _made("unstable_predictions", value, UNSTABLE, value > UNSTABLE)


def _union(seen: Seen, part: str) -> Tensor:
    return seen.yes(f"ce_{part}") | seen.yes(f"margin_{part}")


def _runs(seen: Seen) -> Iterator[Check]:
    """One step and many, two losses, half of the steps and all."""
    asked = seen.asked("one_step", "ce_full")
    one, half, full = seen.yes("one_step"), _union(seen, "half"), _union(seen, "full")
    yield _contest("one_step_beats_iterative", one, full, asked)
    ce, margin = seen.yes("ce_full"), seen.yes("margin_full")
    gap = margin.double().mean() - ce.double().mean()
    value = float(gap) if asked else math.nan
    yield _made(
        "ce_above_margin", value, GAP, exceeds(margin & ~ce, GAP) and value > GAP
    )
    cause = "unfinished_optimisation"
    more, fewer = full & ~half, half & ~full  # runs start from other points
    value = float(more.double().mean() - fewer.double().mean()) if asked else math.nan
    yield _made(
        "doubling_helps",
        value,
        CARLINI_POINTS,
        value > CARLINI_POINTS and exceeds(more, CARLINI_POINTS),
        cause,
        a=int(more.sum()),
        b=int(fewer.sum()),
    )
    late = _finite(seen.of("late_move")[~full])
    yield _share("still_moving", late > LATE, MOST, cause, asked and len(late) > 0)
    yield _share("silent_success", seen.yes("silent"), CARLINI_POINTS, "", asked)


def _contest(
    name: str, one: Tensor, other: Tensor, asked: bool, cause: str = "", **more: Any
) -> Check:
    """Rows in `one` alone against rows in `other` alone, by a sign test."""
    a, b = int((one & ~other).sum()), int((other & ~one).sum())
    value = (a - b) / len(one) if asked and len(one) else math.nan
    flag = asked and outweighs(one, other)
    return _made(name, value, 0.0, flag, cause or name, a=a, b=b, **more)


def _searches(seen: Seen) -> Iterator[Check]:
    """Searches without a gradient, and larger radii."""
    asked, full = seen.asked("one_step", "ce_full"), _union(seen, "full")
    for column, name in (
        ("random_search", "random_search_beats_gradient"),
        ("black_box", "black_box_beats_gradient"),
    ):
        found = seen.yes(column) & ~full
        yield _share(name, found, AA_POINTS, name, asked)
    radii = [seen.yes(f"broken_x{k}") for k in (2, 4, 8)]
    nearer, farther = torch.cat(radii[:-1]), torch.cat(radii[1:])
    wide = seen.asked("broken_x2")
    yield _contest("radius_without_effect", nearer, farther, wide)
    left = ~seen.yes("broken_free")
    yield _share("free_attack_fails", left, SOME, "free_attack_fails", wide)


def _surrogates(seen: Seen) -> Iterator[Check]:
    """Agreement, transfer both ways, consistency."""
    asked, full = seen.asked("transfer"), _union(seen, "full")
    agree = seen.yes("surrogate_right")
    value = float(agree.double().mean()) if asked else math.nan
    yield _made("surrogates_disagree", value, MOST, value < MOST)
    name = "transfer_beats_gradient"
    yield _share(name, seen.yes("transfer") & ~full, MSA_POINTS, name, asked)
    fooled = seen.yes("surrogate_fooled")
    fails = ~seen.yes("transfer")[fooled]
    yield _share("transfer_fails", fails, MOST, "", asked and len(fails) > 0)
    together = _finite(seen.of("consistency"))
    value = float(together.median()) if len(together) else math.nan
    yield _made("inconsistent_loss", value, CORRELATION, value < CORRELATION)
