"""What does a finished run, and a verifier beside it, say of each image? One bracket."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ...certify.audit import Bracket, bracket
from ...certify.audit.verdicts import by_place, verdict_certificates
from ...errors import InputError, StatusError
from ...numerics.arguments import as_number
from ...results.accuracy import Accuracy
from ...results.attack import AttackResult
from ...results.certificates import Certificates
from ...results.evaluation import EvaluationReport
from ...results.prob_robustness import ProbRobustness
from ...results.stages.worst import leaves_the_ball


def bracket_run(
    report: EvaluationReport,
    verdicts: Iterable[Mapping[str, Any]] | None = None,
    confidence: float = 0.95,
) -> Bracket:
    """Certified <= robust <= attacked in the ball of a report's plan, image by image.

    Its certificates (converted from L2 where the plan is in another norm, and marked so), its
    attacks and its PRTests of just that ball; stages of other balls are left out. verdicts: rows of
    :func:`~torchattacks_ext.certify.read_verdicts` on the closed ball of the plan, whose id is the
    place of an image in the data, from 0, or its 16 digits in the report. They are claims on the
    labels of the data.

    Raises StateError, naming the image and both sides, where one is certified and broken;
    InputError where there is nothing to bracket, or a verdict is of an image that is not there.
    No row-pass.

    >>> try:
    ...     bracket_run(EvaluationReport("net", {"eps": 0.1, "norm": "L2"}, {}, {}, ()))
    ... except InputError as error:
    ...     print(str(error)[:42])
    the report has no attack and no certificat
    """
    eps, norm = as_number(report.plan.get("eps")), report.plan.get("norm", "Linf")
    if not 0 <= eps < math.inf:
        raise InputError("the plan has no radius, so that there is no ball to bracket")
    results = [stage.result for stage in report.stages]
    tables = [t for t in _those(results, Certificates) if _reaches(t, norm, eps)]
    attacks = [t for t in _those(results, AttackResult) if _in_ball(t, norm, eps)]
    tests = [t for t in _those(results, ProbRobustness) if _in_ball(t, norm, eps)]
    if verdicts is not None:
        clean = next(iter(_those(results, Accuracy)), None)
        of = clean if clean is not None else next(iter((*attacks, *tables)), None)
        if of is None:
            raise InputError("the report has no images; run stages on them first")
        rows = by_place(verdicts, of.ids)
        claim = verdict_certificates(rows, of.reference, eps, norm=norm, ids=of.ids)
        tables = [claim, *tables]
    if not tables and not attacks:
        raise InputError(
            f"the report has no attack and no certificates in {norm} eps {eps:g}; add such stages "
            "to the plan, or the verdicts of a verifier"
        )
    return bracket(
        tables, attacks, eps=eps, norm=norm, tests=tests, confidence=confidence
    )


def _those(results: Iterable[Any], kind: type[Any]) -> Iterator[Any]:
    return (one for one in results if isinstance(one, kind))


def _in_ball(result: Any, norm: str, eps: float) -> bool:
    if leaves_the_ball(result, {"eps": eps, "norm": norm}):
        return False
    own = result.settings.get("eps"), result.settings.get("norm")
    return own[0] is not None and abs(float(own[0]) - eps) <= 1e-12 and own[1] == norm


def _reaches(table: Certificates, norm: Any, eps: float) -> bool:
    """Whether a table says something of that ball, converted or not."""
    try:
        table.converted(norm).certified(eps)
    except (StatusError, InputError):
        return False
    return True
