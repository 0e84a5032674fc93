"""May this release pass? Lower bounds against a policy; whatever is missing is no pass."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ...errors import TorchattacksExtError
from ...numerics.arguments import as_number
from ...numerics.rates.binomial import lower_bound
from ...results.base import codec
from ...results.evaluation import EvaluationReport
from .measured import WORST_CASE, Measured, measured, worst_case
from .paired import PairedComparison, compare_runs
from .policy import Policy, Rule, check_policy

State = Literal["pass", "warn", "fail", "error"]
ORDER: tuple[State, ...] = ("pass", "warn", "fail", "error")
BROKEN = (
    "model_raised",
    "attack_raised",
    "not_reached",
    "non_finite",
    "broken_certificate",
)
"""Flags of a report that no rule may overlook."""
CODES = {"pass": 0, "warn": 0, "fail": 1, "error": 2}
"""Exit codes; an error is never a pass."""


@dataclass(frozen=True)
class Outcome:
    """What one rule found: its state, its words, and the numbers they rest on (nan: not known)."""

    rule: str
    state: State
    message: str
    value: float = math.nan
    lower: float = math.nan
    threshold: float = math.nan
    n: int = 0


@dataclass(frozen=True)
class GateResult:
    """What :func:`gate` found.

    name: of the run. outcomes: one a rule, and one a demand that is not met. state: the worst of
    them. not_run: stages that failed or could not be used, with the reason.

    >>> GateResult("net", (Outcome("r", "error", "no such stage"),), ()).code
    2
    """

    name: str
    outcomes: tuple[Outcome, ...]
    not_run: tuple[tuple[str, str], ...]

    @property
    def state(self) -> State:
        """The worst state of all rules; "error" where there is none at all."""
        if not self.outcomes:
            return "error"
        return max((one.state for one in self.outcomes), key=ORDER.index)

    @property
    def code(self) -> int:
        """Exit code: 0 pass (also with warnings), 1 a rule failed, 2 a rule could not be judged."""
        return CODES[self.state]

    def to_dict(self) -> dict[str, Any]:
        """Everything in JSON types."""
        found = asdict(self) | {"state": self.state, "code": self.code}
        plain: dict[str, Any] = codec.plain(found)
        return plain


def gate(
    report: EvaluationReport,
    policy: Policy | Mapping[str, Any],
    baseline: EvaluationReport | None = None,
) -> GateResult:
    """Holds a report against a policy.

    Each rule is about the exact one-sided lower bound (Clopper & Pearson 1934) of a share of
    images; that of `attacked_accuracy` bounds an upper bound of the robust accuracy. Fails closed:
    any stage that raised or was not run, an attack that raised on some images, images that were not
    reached or gave NaN scores, a stage of a rule that is missing, zero images, fewer than the
    policy asks for, or a missing baseline make "error", never a pass.
    baseline: for rules with `drop`: an exact paired test finds no fall, all such rules at the
    policy's significance together. Raises ConfigError for a policy that is none.
    """
    checked = check_policy(policy)
    outcomes = [*_raised(report), *_demands(report, checked)]
    falls = _falls(report, checked, baseline)
    for rule in checked.rules:
        try:
            outcomes += _judged(rule, report, checked)
            if rule.drop:
                outcomes.append(_fallen(rule, falls, checked))
        except TorchattacksExtError as error:  # what cannot be judged is no pass
            outcomes.append(Outcome(rule.name, "error", str(error)))
    missing = tuple(
        (stage.name, str(next(iter(stage.missing().values()))))
        for stage in report.stages
        if stage.result is None
    )
    return GateResult(report.name, tuple(outcomes), missing)


def _raised(report: EvaluationReport) -> Iterator[Outcome]:
    """What went wrong in the run itself: no rule is needed to see that."""
    for stage in report.failed:
        yield Outcome(
            f"run {stage.name}", "error", f"the stage has no result: {stage.error}"
        )
    for stage in report.not_applicable:
        why = f"was not run: {stage.not_applicable}; leave it out of the plan, or of no gate"
        yield Outcome(f"run {stage.name}", "error", why)
    if not report.stages:
        yield Outcome("run", "error", "the report has no stage")
    for flag in report.flags:
        if flag.code in BROKEN:
            of = "" if flag.count is None else f" ({flag.count} images)"
            yield Outcome(f"run {flag.code}", "error", flag.message + of)


def _demands(report: EvaluationReport, policy: Policy) -> Iterator[Outcome]:
    for demand in policy.require:
        name = f"require {demand.stage}"
        found = next((s for s in report.stages if s.name == demand.stage), None)
        if found is None or found.result is None:
            why = "is not in the report" if found is None else "has no result"
            yield Outcome(name, "error", f"stage {demand.stage!r} {why}")
            continue
        settings = {**found.settings, **found.result.settings}
        odd = {
            key: settings.get(key)
            for key, wanted in demand.settings.items()
            if not _as_wanted(settings.get(key), wanted)
        }
        n = len(found.result)
        if odd:
            yield Outcome(
                name, "error", f"ran with {odd}, required {demand.settings}", n=n
            )
        elif n < demand.n:
            yield Outcome(name, "error", f"{n} images, required {demand.n}", n=n)
        else:
            yield Outcome(name, "pass", f"ran on {n} images", n=n)


def _as_wanted(seen: Any, wanted: Any) -> bool:
    """Whether a setting is what a policy asks; numbers may be written as "8/255".

    >>> _as_wanted(8 / 255, "8/255"), _as_wanted(8 / 255, 0.0314), _as_wanted("fast", "full")
    (True, False, False)
    """
    if isinstance(seen, float):
        return math.isclose(seen, as_number(wanted), rel_tol=1e-9)
    return bool(seen == wanted)


def _judged(rule: Rule, report: EvaluationReport, policy: Policy) -> Iterator[Outcome]:
    if rule.fail is None and rule.warn is None:
        return
    found = _find(rule, report)
    if isinstance(found, str):
        yield Outcome(rule.name, "error", found)
        return
    n, k = len(found), found.n_right
    if found.lacks:
        yield Outcome(rule.name, "error", found.lacks, n=n)
        return
    if n < max(policy.n, 1):
        yield Outcome(
            rule.name, "error", f"{n} images, the policy asks {policy.n}", n=n
        )
        return
    low = float(lower_bound(k, n, 1 - policy.confidence))
    if math.isnan(low):
        yield Outcome(rule.name, "error", "its bound is no number", n=n)
        return
    state: State = "pass"
    edge = rule.fail if rule.fail is not None else rule.warn
    if rule.warn is not None and low < rule.warn:
        state, edge = "warn", rule.warn
    if rule.fail is not None and low < rule.fail:
        state, edge = "fail", rule.fail
    assert edge is not None
    sign = "below" if state in ("warn", "fail") else "at least"
    shown = math.floor(1e4 * low) / 1e4  # what is below a limit is not told as equal
    words = (
        f"{k} of {n} images, lower bound {shown:.4f} at {policy.confidence:.0%} is {sign} "
        f"{edge:g}"
    )
    yield Outcome(rule.name, state, words, k / n, low, edge, n)


def _find(rule: Rule, report: EvaluationReport) -> Measured | str:
    """The stage of a rule, or why it cannot be judged."""
    if rule.stage == WORST_CASE:
        found = worst_case(report)
        return "no attack has a result" if found is None else found
    stage = next((one for one in report.stages if one.name == rule.stage), None)
    if stage is None:
        names = ", ".join(one.name for one in report.stages) or "none"
        return f"stage {rule.stage!r} is not in the report; it has {names}"
    if stage.result is None:
        return f"stage {rule.stage!r} has no result: {next(iter(stage.missing().values()))}"
    found = measured(stage, rule.eps)
    if found is None or found.metric != rule.metric:
        kind = "nothing of single images" if found is None else found.metric
        return f"stage {rule.stage!r} gives {kind}, not {rule.metric}"
    return found


def _falls(
    report: EvaluationReport, policy: Policy, baseline: EvaluationReport | None
) -> PairedComparison | str:
    """The paired comparison with the baseline, or why there is none."""
    if not any(rule.drop for rule in policy.rules):
        return "no rule asks for one"
    if baseline is None:
        return "no baseline was given, which a rule with drop needs"
    eps = next((rule.eps for rule in policy.rules if rule.drop and rule.eps), None)
    try:
        return compare_runs(baseline, report, significance=policy.significance, eps=eps)
    except TorchattacksExtError as error:
        return str(error)


def _fallen(rule: Rule, falls: PairedComparison | str, policy: Policy) -> Outcome:
    name = f"{rule.name}, drop"
    if isinstance(falls, str):
        return Outcome(name, "error", falls)
    line = next((one for one in falls.lines if one.stage == rule.stage), None)
    why = next((why for stage, why in falls.missing if stage == rule.stage), "")
    if line is None or line.metric != rule.metric or why:
        found = dict(falls.skipped).get(rule.stage, "no such numbers in both")
        said = f"{rule.stage!r} cannot be compared to the baseline ({why or found})"
        return Outcome(name, "error", said)
    if line.n < policy.n:
        return Outcome(
            name, "error", f"{line.n} common images, asked {policy.n}", n=line.n
        )
    fell = line.adjusted <= policy.significance
    words = (
        f"{line.lost} lost, {line.gained} gained of {line.n}: drop {line.drop:.4f}, p "
        f"{line.adjusted:.3g} (Holm over {len(falls.lines)} stages, level "
        f"{policy.significance:g})"
    )
    state: State = "fail" if fell else "pass"
    return Outcome(name, state, words, line.drop, line.interval[0], 0.0, line.n)
