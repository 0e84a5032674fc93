"""What does a report say to a reader who signs but does not compute? A few plain sentences."""

from __future__ import annotations

from ...results.accuracy import Accuracy
from ...results.base.facts import LOUD
from ...results.certificates import Certificates
from ...results.evaluation import EvaluationReport, StageReport
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
    listing,
    one_line,
    share,
    things,
    verb,
)
from .budgets import budget_sentences
from .context import doubts
from .drawn import random_sentences
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
        *random_sentences(report),
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
            what = f"{things(len(bad), 'stage')} {how} and {verb(len(bad), 'says', 'say')} nothing"
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
