"""What is known of the robustness of each image? certified <= robust <= attacked, in one table."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from ..._typing import NORMS, Norm, Verdict
from ...errors import ConfigError, InputError, StateError, StatusError
from ...numerics.arguments import check_confidence, parse_number
from ...numerics.rates.binomial import clopper_pearson
from ...results.attack import AttackResult
from ...results.base import codec
from ...results.certificates import TIERS, Certificates
from ...results.prob_robustness import ProbRobustness
from ...results.sample import Sample
from ...results.stages.worst import leaves_the_ball

PROVED, CONFIDENT = TIERS[:2]


@dataclass(frozen=True)
class Line:
    """One line: who says it, what it is worth, the share, its interval, and its price.

    side: "at least" (certified), "at most" (attacked), "random draws" (PRTest, a claim of its own:
    it says nothing of the worst case) or "smoothed classifier" (radii of that, not of the model
    that the attacks are on).
    """

    name: str
    status: str
    side: str
    share: float
    interval: tuple[float, float]
    forward: int
    seconds: float


@dataclass(frozen=True)
class Bracket:
    """Certified share, attacked share, and PRTest beside them, on the same images.

    eps, norm: of every line; "converted" stands in the status of a line that was. at_least,
    at_most: the ends of the share of robust images. open: images that are neither certified nor
    broken. rests_on: claims and assumptions without which at_least would be less; without: that
    share, of certificates of the tier "certified" alone.

    >>> Bracket(0.1, "L2", 4, 0.25, 0.75, 2, ()).to_dict()["open"]
    2
    """

    eps: float
    norm: str
    n: int
    at_least: float
    at_most: float
    open: int
    lines: tuple[Line, ...]
    rests_on: tuple[str, ...] = ()
    without: float = math.nan

    def to_dict(self) -> dict[str, Any]:
        """Everything in JSON types."""
        plain: dict[str, Any] = codec.plain(asdict(self))
        return plain

    def __str__(self) -> str:
        return "\n".join(_told(self))


def bracket(
    certificates: Certificates | Iterable[Certificates],
    attacked: AttackResult | Iterable[AttackResult],
    *,
    eps: float,
    norm: Norm,
    tests: ProbRobustness | Iterable[ProbRobustness] = (),
    confidence: float = 0.95,
) -> Bracket:
    """Certified <= robust <= attacked at one radius, image by image.

    All results are of the same images (by id; the order may differ). Certificates in another norm
    are converted from L2, and their line says so; attacks and tests of another eps, norm or model
    are refused. An image is certified where any certificate that is right reaches eps, broken where
    any attack has a witness. Radii of a smoothed classifier stand beside attacks on the model under
    it, and count only where the attacks are on another model: the smoothed classifier.

    Raises StateError, naming image and both sides, where an image is certified and broken: one of
    them is wrong, and no number stands. A certificate with confidence is wrong with its stated
    probability, which the message says. Raises InputError for results of other images. No row-pass.
    """
    check_confidence(confidence)
    if norm not in NORMS:
        raise ConfigError(f"norm={norm!r} is not one of {NORMS}")
    eps, sides = parse_number(eps, "eps"), _all(certificates, Certificates)
    attacks, probes = _all(attacked, AttackResult), _all(tests, ProbRobustness)
    if not sides and not attacks:
        raise InputError("nothing to bracket; give certificates or attacks")
    ids = (sides or attacks)[0].ids
    for one in (*attacks, *probes):
        _same_ball(one, eps, norm)
        _same_model(sides, one)
    lines, sure = [], torch.zeros(len(ids), dtype=torch.bool)
    broken = torch.zeros(len(ids), dtype=torch.bool)
    right = torch.ones(len(ids), dtype=torch.bool)
    said: list[tuple[str, Tensor]] = []
    for table in sides:
        moved = table.converted(norm)
        held = moved.certified(eps)[_places(moved, ids)]
        who = str(table.settings.get("certifier", "certifier"))
        more = ", converted from L2" if moved is not table else ""
        other = table.tier == CONFIDENT and not _is_victim(table, attacks)
        side = "smoothed classifier" if other else "at least"
        lines.append(_line(who, table.tier + more, side, held, table, confidence))
        if not other:
            said.append((f"{who} ({table.tier}{more})", held))
            sure |= held & (table.tier == PROVED)
    for result in attacks:
        place = _places(result, ids)
        verdict = result.verdict[place]
        hit = verdict == int(Verdict.NOT_ROBUST)
        left = ~hit & (verdict != int(Verdict.MISCLASSIFIED))
        who = str(result.settings.get("method", "attack"))
        for name, held in said:
            _refuse_crossing(ids, held & ~left, name, who, eps, norm)
        lines.append(_line(who, "attacked", "at most", left, result, confidence))
        broken |= hit
        right &= verdict != int(Verdict.MISCLASSIFIED)
    for test in probes:
        kept = test.verdict[_places(test, ids)] == int(Verdict.ROBUST)
        status = f"random draws, tolerance {test.settings.get('tolerance')}"
        lines.append(_line("PRTest", status, "random draws", kept, test, confidence))
    left = right & ~broken
    proved, n = sure.clone(), len(ids)
    for _, held in said:
        proved |= held
    return Bracket(
        eps=eps,
        norm=norm,
        n=n,
        at_least=float(proved.double().mean()) if n else 0.0,
        at_most=float(left.double().mean()) if n else 0.0,
        open=int((left & ~proved).sum()),
        lines=tuple(lines),
        rests_on=tuple(name for name, held in said if bool((held & ~sure).any())),
        without=float(sure.double().mean()) if n else 0.0,
    )


def _all(given: Any, kind: type[Any]) -> list[Any]:
    """One result or several; StatusError for those of another kind."""
    found = [given] if isinstance(given, Sample) else list(given)
    odd = sorted({type(one).__name__ for one in found if not isinstance(one, kind)})
    if odd:
        raise StatusError(
            f"{', '.join(odd)} in place of {kind.__name__}; bracket(certificates, attacked, "
            "tests=...) takes each kind by itself"
        )
    return found


def _line(
    name: str, status: str, side: str, held: Tensor, result: Any, confidence: float
) -> Line:
    k, n = int(held.sum()), len(held)
    low, high = clopper_pearson(k, n, confidence)
    cost = result.cost
    return Line(
        name,
        status,
        side,
        k / n if n else 0.0,
        (float(low), float(high)),
        int(cost.forward),
        float(cost.seconds),
    )


def _places(result: Any, ids: Tensor) -> Tensor:
    """Rows of a result in the order of ids."""
    found: Tensor = result.find(ids)
    if len(result) != len(ids) or bool((found < 0).any()):
        raise InputError(
            f"{type(result).__name__} is of other images than the first table; measure the same "
            "images with the same ids="
        )
    return found


def _same_ball(result: Any, eps: float, norm: str) -> None:
    own = result.settings.get("eps"), result.settings.get("norm")
    if own[0] is None or abs(float(own[0]) - eps) > 1e-12 or own[1] != norm:
        raise InputError(
            f"{type(result).__name__} is of {own[1]} eps {own[0]}, the bracket of {norm} eps "
            f"{eps:g}; all lines share one ball"
        )
    if leaves_the_ball(result, {"eps": eps, "norm": norm}):
        law = (result.settings.get("sampler") or {}).get("name")
        raise InputError(
            f"{type(result).__name__} draws by {law!r}, whose changes leave the ball of {norm} eps "
            f"{eps:g}; all lines share one ball"
        )


def _model_of(result: Any) -> str | None:
    """The hash of the weights that a result is about, where it is known."""
    found: str | None = (result.provenance.get("model") or {}).get("sha256")
    return found


def _is_victim(table: Certificates, attacks: Iterable[AttackResult]) -> bool:
    """Whether attacks may be on the smoothed classifier: none is on the model under it."""
    own, hit = _model_of(table), [_model_of(one) for one in attacks]
    return all(one is not None and one != own for one in hit)


def _same_model(tables: Iterable[Certificates], result: Any) -> None:
    """Raises InputError where a proved table and a result are known to be of different weights."""
    for table in tables:
        pair = _model_of(table), _model_of(result)
        if table.tier != CONFIDENT and None not in pair and pair[0] != pair[1]:
            raise InputError(
                f"{type(result).__name__} is of other weights than the certificates of "
                f"{table.settings.get('certifier')}; measure the model that was certified"
            )


def _refuse_crossing(
    ids: Tensor, both: Tensor, claim: str, attack: str, eps: float, norm: str
) -> None:
    """Raises StateError where a row is certified by one and broken, or wrong, for the other."""
    rows = both.nonzero().flatten().tolist()
    if rows:
        shown = ", ".join(f"{int(ids[row]) % 2**64:016x}" for row in rows[:3])
        raise StateError(
            f"{len(rows)} images are certified within {norm} {eps:g} by {claim} and broken there "
            f"by {attack}: images {shown}. One of the two is wrong (a certificate with confidence "
            "is, with its stated probability); no bracket is given. audit() says which claim broke"
        )


def _told(found: Bracket) -> Iterable[str]:
    ends = f"[{found.at_least:.4f}, {found.at_most:.4f}]"
    if found.rests_on:
        ends = (
            f"[{found.without:.4f}, {found.at_most:.4f}], or {ends} if what is not proved here is "
            f"right: {', '.join(dict.fromkeys(found.rests_on))}"
        )
    yield (
        f"{found.norm} eps {found.eps:g}, {found.n} images: robust share in {ends}; "
        f"{found.open} images open"
    )
    for line in found.lines:
        low, high = line.interval
        yield (
            f"  {line.name} ({line.status}): {line.side} {line.share:.4f} [{low:.4f}, {high:.4f}]; "
            f"{line.forward} forward row-passes, {line.seconds:.1f} s"
        )
