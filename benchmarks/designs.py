"""Which tests of a failure rate are compared? Each as a table of the counts that end it.

Claim of all: p_fail <= tolerance. A design with an alternative is one-sided: it tests
p >= tolerance against p <= tolerance / 2, and its "refuted" says no more than "not certified"
(p > tolerance / 2 for the e-process with futility). Only PRTest's own table refutes
"p <= tolerance" itself.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from torchattacks_ext.numerics.rates.binomial import zero_failure_n
from torchattacks_ext.numerics.rates.evalues import bar_of, log_e_high
from torchattacks_ext.numerics.rates.sequential import Boundaries, least_n_to_certify

IntArray = NDArray[np.int64]


def one_look(tolerance: float, significance: float, n: int, count: int) -> Boundaries:
    """n draws, certified with at most `count` failures, else refused."""
    one = np.array([n])
    return Boundaries(
        tolerance, significance, one, 0 * one + count, 0 * one + count + 1
    )


def smallest_fixed(tolerance: float, significance: float) -> tuple[int, int]:
    """The least (n, c) that errs with at most `significance` at tolerance and at its half.

    Certified with at most c failures in n. For each c, the least n with
    P(Bin(n, tolerance) <= c) <= significance; the first c whose P(Bin(n, tolerance / 2) <= c)
    is at least 1 - significance.
    """
    count = 0
    while True:
        low, high = count, math.ceil(20 * (count + 1) / tolerance)
        while high - low > 1:
            n = (low + high) // 2
            small = stats.binom.cdf(count, n, tolerance) <= significance
            low, high = (low, n) if small else (n, high)
        if stats.binom.sf(count, high, tolerance / 2) <= significance:
            return high, count
        count += 1


def fixed(tolerance: float, significance: float) -> Boundaries:
    """Exact binomial test with power 1 - significance at tolerance / 2; all draws are made."""
    return one_look(tolerance, significance, *smallest_fixed(tolerance, significance))


def curtailed(tolerance: float, significance: float) -> Boundaries:
    """The same decision as soon as it is certain: at failure c + 1 or success n - c."""
    n, count = smallest_fixed(tolerance, significance)
    return cut_short(tolerance, significance, n, count)


def zero_failure(tolerance: float, significance: float) -> Boundaries:
    """Certified without a failure in ceil(ln significance / ln(1 - tolerance)) draws."""
    return cut_short(
        tolerance, significance, zero_failure_n(tolerance, significance), 0
    )


def cut_short(tolerance: float, significance: float, n: int, count: int) -> Boundaries:
    """`one_look` that ends once nothing can change its decision."""
    looks = np.arange(1, n + 1)
    certify_at = np.maximum(count - (n - looks), -1)
    refute_at = np.minimum(count, looks) + 1
    return Boundaries(tolerance, significance, looks, certify_at, refute_at)


def every_draw(
    tolerance: float, significance: float, n: IntArray, m: IntArray, cap: int
) -> Boundaries:
    """s failures certify from n[s] draws on and refuse up to m[s] draws; each draw is a look."""
    looks = np.arange(1, cap + 1)
    certify_at = np.searchsorted(n, looks, side="right") - 1
    refute_at = np.searchsorted(m, looks, side="left")
    return Boundaries(tolerance, significance, looks, certify_at, refute_at)


def sprt(tolerance: float, significance: float) -> Boundaries:
    """Wald's test of tolerance / 2 against tolerance, limits 1 / significance, at most 3 n.

    The log likelihood ratio falls by `fail` at a failure and rises by `well` at a success; n is
    that of `fixed`.
    """
    half, bar = tolerance / 2, -math.log(significance)
    well = math.log1p(-half) - math.log1p(-tolerance)
    cap = 3 * smallest_fixed(tolerance, significance)[0]
    s = np.arange(counts_up_to(cap, tolerance))
    fail = math.log(2)
    certify_from = s + np.ceil((bar + s * fail) / well).astype(np.int64)
    refuse_upto = s + np.floor((s * fail - bar) / well).astype(np.int64)
    refuse_upto = np.where(s * fail >= bar, refuse_upto, 0)
    return every_draw(tolerance, significance, certify_from, refuse_upto, cap)


def e_process_with_futility(tolerance: float, significance: float) -> Boundaries:
    """PRTest's certificate at every draw; refused once p_fail <= tolerance / 2 is. At most 3 n."""
    cap = 3 * smallest_fixed(tolerance, significance)[0]
    s = np.arange(counts_up_to(cap, tolerance))
    low = s - 1
    high = np.ceil(2 * s / tolerance).astype(np.int64) + 1  # E <= 1 from there on
    while (wide := high - low > 1).any():
        n = np.maximum((low + high) // 2, s)
        log_e = log_e_high(n, s, tolerance, threshold=tolerance / 2)
        refuses = log_e >= bar_of(significance)
        low = np.where(wide & refuses, n, low)
        high = np.where(wide & ~refuses, n, high)
    refuse_upto = np.where(low >= np.maximum(s, 1), low, 0)
    certify_from = least_n_to_certify(s, tolerance, significance)
    return every_draw(tolerance, significance, certify_from, refuse_upto, cap)


def counts_up_to(cap: int, tolerance: float) -> int:
    """So many counts that the last one is refused at once at every n up to the cap."""
    return int(2 * cap * tolerance + 60)


def group_halving(tolerance: float, significance: float) -> Boundaries:
    """Group-sequential with looks at N / 16, N / 8, N / 4, N / 2 and N: see `least_group`."""
    return least_group(tolerance, significance, 2 ** np.arange(5))


def group_equal(tolerance: float, significance: float) -> Boundaries:
    """Group-sequential with ten looks, equally far apart: see `least_group`."""
    return least_group(tolerance, significance, np.arange(1, 11))


def least_group(tolerance: float, significance: float, parts: IntArray) -> Boundaries:
    """Looks at m * parts for the least m that works, with at least the draws of `fixed`.

    Both errors are spent as n / N. At look k the greatest count certifies for which an image at
    the tolerance has been certified by then with probability at most significance * n_k / N, and
    the least count refuses for which one at half the tolerance has been refused with at most that.
    It works if the last look leaves no count between the two. Both limits bind.
    """
    least_n = smallest_fixed(tolerance, significance)[0]
    m = -(-least_n // int(parts[-1]))
    while (found := spend(tolerance, significance, m * parts)) is None:
        m += 1
    return found


def spend(tolerance: float, significance: float, looks: IntArray) -> Boundaries | None:
    """The limits of `least_group` at these looks, or None if the last one leaves a gap."""
    rates, size = (tolerance, tolerance / 2), counts_up_to(looks[-1], tolerance)
    s = np.arange(size)
    alive = [np.eye(1, size)[0] for _ in rates]
    spent, limits = [0.0, 0.0], []
    for draws, look in zip(np.diff(looks, prepend=0), looks):
        allowed = significance * look / looks[-1]
        steps = [stats.binom.pmf(s, draws, p) for p in rates]
        alive = [np.convolve(a, b)[:size] for a, b in zip(alive, steps)]
        certified = spent[0] + np.cumsum(alive[0])
        refused = spent[1] + np.cumsum(alive[1][::-1])
        low = int(np.searchsorted(certified, allowed, side="right")) - 1
        high = size - int(np.searchsorted(refused, allowed, side="right"))
        if look == looks[-1] and high > low + 1:
            return None
        high = max(high, low + 1)
        spent[0] += alive[0][: low + 1].sum()
        spent[1] += alive[1][high:].sum()
        for law in alive:
            law[: low + 1] = law[high:] = 0
        limits.append((low, high))
    certify_at, refute_at = np.array(limits).T
    return Boundaries(tolerance, significance, looks, certify_at, refute_at)


def hundred_draws(tolerance: float) -> Boundaries:
    """Passed if the accuracy on 100 draws exceeds 1 - tolerance; no level is stated.

    The rule of Robey et al. 2022 (PRL) and of PRBench.
    """
    return one_look(tolerance, math.nan, 100, math.ceil(round(100 * tolerance, 9)) - 1)


def retest(tolerance: float, significance: float, n_max: int) -> Boundaries:
    """A one-sided exact test in each direction, anew every 64 draws until one rejects.

    What a loop round a fixed-n test does: each look has the level, all of them together have not.
    Without n_max it goes on for ever.
    """
    looks = np.arange(64, n_max + 1, 64)
    certify_at = greatest_small_count(looks, tolerance, significance)
    refute_at = looks - greatest_small_count(looks, 1 - tolerance, significance)
    return Boundaries(tolerance, significance, looks, certify_at, refute_at)


def greatest_small_count(n: IntArray, p: float, significance: float) -> IntArray:
    """The greatest c with P(Bin(n, p) <= c) <= significance, -1 if there is none."""
    count = stats.binom.ppf(significance, n, p).astype(np.int64)
    too_likely = stats.binom.cdf(count, n, p) > significance
    return count - too_likely


def provero(tolerance: float, significance: float) -> dict[str, int]:
    """Draws of the cheapest proof and of the final test of PROVERO: its formula, not a run.

    To tell p <= a from p >= b with error d, a Chernoff tester needs (Baluta et al. 2021)
    N = (sqrt(3 a) + sqrt(2 b))^2 ln(1 / d) / (b - a)^2. Threshold and gap are half the tolerance;
    the level is shared by 3 + log2(threshold / gap) + log2((1 - threshold - gap) / gap) testers.
    """
    half = tolerance / 2
    share = significance / (3 + math.log2((1 - tolerance) / half))

    def draws(a: float, b: float) -> int:
        width = (math.sqrt(3 * a) + math.sqrt(2 * b)) ** 2 / (b - a) ** 2
        return math.ceil(width * math.log(1 / share))

    return {"cheapest_proof": draws(0, half), "final_test": draws(half, tolerance)}
