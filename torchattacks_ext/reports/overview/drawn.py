"""What do random draws say, told to a reader who does not compute? One test, or several."""

from __future__ import annotations

from ..._typing import Verdict
from ...results.evaluation import EvaluationReport, StageReport
from ...results.prob_robustness import ProbRobustness
from ..stages import is_test, law_text, settings_of, usable
from ..words import count, exact_rate, listing, one_line, percent, share, things, verb


def random_sentences(report: EvaluationReport) -> list[str]:
    """What random perturbations do; two sentences where one test ran."""
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
        f"{things(more, 'image')} {verb(more, 'is', 'are')} shown, at the same level, to fail "
        "more often than that",
        f"{count(open_)} {verb(open_, 'stays', 'stay')} undecided",
    ]
    if result.asked.kind == "label" or wrong:
        were = verb(wrong, "was", "were")
        parts.append(f"{count(wrong)} {were} already wrong without any perturbation")
    return f"Of the {things(len(result), 'image')}, {listing(parts)}."


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
