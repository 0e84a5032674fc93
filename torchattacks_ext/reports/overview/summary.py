"""What does a report say to a reader who signs but does not compute? A few plain sentences."""

from __future__ import annotations

from ..._typing import Verdict
from ...results.accuracy import Accuracy
from ...results.base.facts import LOUD
from ...results.certificates import Certificates
from ...results.evaluation import EvaluationReport, StageReport
from ...results.prob_robustness import ProbRobustness
from ..certified.words import main_share, sentence
from ..laws import kinds, law_ball, law_of
from ..sets.told import sets_sentences
from ..stages import (
    balls,
    free_laws,
    is_attack,
    is_clean,
    is_sweep,
    is_test,
    law_text,
    n_images,
    settings_of,
    sources,
    stressed,
    usable,
)
from ..stress import stress_sentences
from ..sweep import sweep_sentences
from ..words import (
    bounded,
    count,
    exact_rate,
    listing,
    one_line,
    percent,
    share,
    things,
)
from .budgets import budget_sentences
from .context import doubts
from .scorecard import scorecard


def plain_summary(report: EvaluationReport) -> list[str]:
    """Four to eight sentences without jargon, in this order.

    What was measured; accuracy without change; what withstands the attacks (an upper
    bound, never a proof); what is proved, where a stage proves; what the random test says
    (two sentences); what was not tested; failed stages; doubts.

    >>> report = EvaluationReport("net", {}, {}, {"n": 0}, stages=())
    >>> plain_summary(report)[1]
    'How often it answers correctly is therefore not known.'
    """
    n = n_images(report)
    if not n:
        return _nothing(report, n)
    return [
        _measured(report, n),
        _clean(report),
        *_withstood(report),
        *budget_sentences(report),
        *_certified(report),
        *sweep_sentences(report),
        *stress_sentences(report),
        *sets_sentences(report),
        *_random(report),
        _not_tested(report),
        *_failed(report),
        *_doubted(report),
    ]


def _nothing(report: EvaluationReport, n: int | None) -> list[str]:
    why = "the data held no images" if n == 0 else "no stage gave a result"
    return [
        f"Nothing was measured on the model “{_name(report)}”: {why}.",
        "How often it answers correctly is therefore not known.",
        "How it behaves under attack or under random perturbations is not known either.",
        _not_tested(report),
        *_failed(report),
        *_doubted(report),
    ]


def _name(report: EvaluationReport) -> str:
    return one_line(report.name, 60) or "unnamed model"


def _measured(report: EvaluationReport, n: int) -> str:
    inside, free = balls(report), free_laws(report)
    ways = ["unchanged"]
    if inside or not free:
        ways.append("with small changes to their pixels")
    if inside:
        ways[-1] += f", which stay within the {listing(inside)}{_per_pixel(report)}"
    ways += [f"with random changes that no ball bounds ({law})" for law in free]
    return (
        f"We measured how the model “{_name(report)}” answers on {things(n, 'image')}, "
        f"{listing(ways)}."
    )


def _per_pixel(report: EvaluationReport) -> str:
    """What one Linf radius means for a pixel; "" for several balls, other norms or ranges."""
    every = [settings_of(s) for s in report.stages if is_attack(s) or is_sweep(s)]
    every += [
        settings
        for settings in map(settings_of, filter(is_test, report.stages))
        if law_ball(settings) or not law_of(settings)
    ]
    found = [settings for settings in every if settings.get("eps") is not None]
    eps = {s.get("eps") for s in found}
    unit = all(s.get("bounds") in (None, [0, 1], (0, 1)) for s in [*found, report.plan])
    if len(eps) != 1 or not unit or {s.get("norm") for s in found} != {"Linf"}:
        return ""
    return (
        f" (no pixel value moves by more than {bounded(eps.pop() or 0.0)} of its range)"
    )


def _clean(report: EvaluationReport) -> str:
    result = next(
        (
            s.result
            for s in report.stages
            if usable(s) and isinstance(s.result, Accuracy)
        ),
        None,
    )
    if result is None:
        known = any(is_clean(stage) for stage in report.stages)
        why = "that stage gave no result" if known else "it was not measured"
        return f"How often it is right on unchanged images is not known: {why}."
    right = int((result.clean_correct == 1).sum())
    n = int(result.answered.sum())
    them = "them"
    if n < len(result):
        them = f"the {things(n, 'image')} on which it did not raise"
    return f"Without any change it answers {share(right, n)} of {them} correctly."


def _withstood(report: EvaluationReport) -> list[str]:
    ran = [s for s in report.stages if is_attack(s) and usable(s)]
    sampled = not ran and budget_sentences(report)
    return [] if sampled else [_attacked(report, ran)]


def _attacked(report: EvaluationReport, ran: list[StageReport]) -> str:
    if not ran:
        tried = any(is_attack(stage) for stage in report.stages)
        what = "No attack gave a result" if tried else "No attack was run"
        return f"{what}, so nothing is known about a deliberate search for harmful changes."
    worst = scorecard(report)[-1]
    names = listing([one_line(stage.name, 40) for stage in ran])
    counted = report.worst_stages()[0]
    drawn = any(is_test(report[name]) and usable(report[name]) for name in counted)
    by = f"{things(len(ran), 'attack')} ({names}){' and the random draws' if drawn else ''}"
    if worst.estimate is None:
        return (
            f"After {by} it is not known how many images are still answered correctly."
        )
    return (
        f"After {by}, {worst.value} of the images are still answered correctly; this is an upper "
        "bound and not a proof, since a stronger attack may leave fewer."
    )


def _certified(report: EvaluationReport) -> list[str]:
    found = [s.result for s in report.stages if usable(s)]
    return [
        sentence(result, main_share(result, report.plan, 0.95))
        for result in found
        if isinstance(result, Certificates)
    ]


def _random(report: EvaluationReport) -> list[str]:
    tests = [stage for stage in report.stages if is_test(stage)]
    ran = [
        (s, s.result)
        for s in tests
        if usable(s) and isinstance(s.result, ProbRobustness)
    ]
    if not ran:
        what = "No random test gave a result" if tests else "No random test was run"
        return [
            f"{what}, so nothing is known about chance perturbations such as noise."
        ]
    if len(ran) > 1:
        return [_many_tests(ran)]
    result, settings = ran[0][1], settings_of(ran[0][0])
    certified, n = int(result.certified.sum()), len(result)
    limit = _IF.get(str(result.guarantee), "")
    often = _known(settings.get("tolerance"), "the tolerated share")
    wrong = _known(settings.get("significance"), "the level of the test")
    return [
        f"Random test: for {share(certified, n)} of the images it is certified that at most "
        f"{often} of random perturbations ({law_text(settings)}) lead to "
        f"{_failure(settings)}; for each image such a finding is wrong with a chance of at most "
        f"{wrong}{',' * bool(limit)}{limit}.",
        _others(result, settings),
    ]


_IF_IDEAL = " if the random moves of the method mix well, which was not checked"
_IF_CALLS = " if the random numbers of its separate calls are independent, which was not checked"
_IF = {
    "ideal-kernel": _IF_IDEAL,
    "independent-calls": _IF_CALLS,
    "one-row-calls": _IF_CALLS,
    "unverified": " which is not verified: the model draws random numbers of its own",
}


def _known(value: object, words: str) -> str:
    return exact_rate(value) if isinstance(value, float) else words


def _failure(settings: dict[str, object]) -> str:
    if str(settings.get("mode", "")).startswith("targeted"):
        return "the target as the answer"
    return (
        "another answer"
        if settings.get("reference") == "prediction"
        else "a wrong answer"
    )


def _others(result: ProbRobustness, settings: dict[str, object]) -> str:
    more, open_ = result.count(Verdict.NOT_ROBUST), result.count(Verdict.UNDECIDED)
    wrong = int(
        (
            (result.verdict == int(Verdict.MISCLASSIFIED)) | (result.clean_correct == 0)
        ).sum()
    )
    parts = [
        f"{things(more, 'image')} {_verb(more, 'is', 'are')} shown, at the same level, to fail "
        "more often than that",
        f"{count(open_)} {_verb(open_, 'stays', 'stay')} undecided",
    ]
    if result.asked.kind == "label" or wrong:
        verb = _verb(wrong, "was", "were")
        parts.append(f"{count(wrong)} {verb} already wrong without any perturbation")
    return f"Of the {things(len(result), 'image')}, {listing(parts)}."


def _verb(number: int, one: str, many: str) -> str:
    return one if number == 1 else many


def _many_tests(ran: list[tuple[StageReport, ProbRobustness]]) -> str:
    parts = [
        f"{one_line(stage.name, 40)} ({law_text(settings_of(stage))}) certifies "
        f"{percent(int(result.certified.sum()), len(result))}, shows frequent failure for "
        f"{count(result.count(Verdict.NOT_ROBUST))} and leaves "
        f"{count(result.count(Verdict.UNDECIDED))} of {things(len(result), 'image')} undecided"
        for stage, result in ran
    ]
    words = {str(result.guarantee) for _, result in ran}
    more = f"; those by splitting hold only{_IF_IDEAL}" * ("ideal-kernel" in words)
    own = words & {"independent-calls", "one-row-calls"}
    more += (
        f"; those of a model or law with its own randomness hold only{_IF_CALLS}"
        * (bool(own))
    )
    return f"{count(len(ran))} random tests were run: {'; '.join(parts)}{more}."


def _not_tested(report: EvaluationReport) -> str:
    larger = "larger changes, " if balls(report) else ""
    ran = [settings_of(s) for s in report.stages if is_test(s) and usable(s)]
    drawn = {kind for settings in ran for kind in kinds(settings)}
    usual = ("rotation",) if stressed(report) else ("rotation", "blur", "weather")
    other = [kind for kind in usual if kind not in drawn]
    return (
        f"Not tested: {larger}other kinds of change (such as "
        f"{', '.join(other) or 'patches'} or other cameras), images from {sources(report)}, hidden "
        "backdoors, poisoned training data, and privacy."
    )


def _failed(report: EvaluationReport) -> list[str]:
    found = []
    for bad, how in (
        (report.failed, "failed"),
        (report.not_applicable, "cannot be used on such a model or such images"),
    ):
        if bad:
            names = listing([one_line(stage.name, 40) for stage in bad])
            what = f"{things(len(bad), 'stage')} {how} and {_verb(len(bad), 'says', 'say')} nothing"
            found.append(f"{what} about the model: {names}.")
    return found


def _doubted(report: EvaluationReport) -> list[str]:
    found = doubts(report)
    if not found:
        return []
    told = [doubt for doubt in found if doubt.code in LOUD] or found[:1]
    said = "; ".join(doubt.message.rstrip(". ") for doubt in told)
    left = len(found) - len(told)
    more = f", and {things(left, 'further doubt')}" if left else ""
    return [f"Doubts about these numbers: {said}{more}."]
