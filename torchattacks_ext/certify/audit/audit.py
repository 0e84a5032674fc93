"""Does any attack find another answer inside a certified radius, and how near does it come?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from scipy import stats
from torch import Tensor

from ...data.door import as_tensor, check_images, check_labels
from ...errors import ConfigError, InputError, StatusError
from ...numerics.arguments import check_probabilities, parse_seed, parse_whole
from ...numerics.ids import IdBook
from ...results.base import codec
from ...results.certificates import Certificates
from ..ellips.entrance import BOUNDS
from ..smoothing.certifier import SmoothedCertifier
from .attacks import Attacker, attackers_of
from .victims import victim_of
from .work import ASKS, FACTORS, HALVINGS_OF_DRAWS, Flip, Tightness, Work


@dataclass(frozen=True)
class Audit:
    """What :func:`audit` found.

    tier, claim: what the radii may be called, and whose claim they are. victim: whose answer they
    are about. n: certified images. allowed: flips that a certificate with confidence may have, the
    binomial 99.9 % quantile of its level; 0 for others. flips: every one inside a radius; those
    that the encoder's rounding explains are marked, and break no certificate that leaves it out.
    table: a line an attack, the last over all.

    >>> found = Audit("certified", "Ellips", "Ellips", "L2", 3, 0, (), ())
    >>> found.sound, found.to_dict()["n"]
    (True, 3)
    """

    tier: str
    claim: str
    victim: str
    norm: str
    n: int
    allowed: int
    flips: tuple[Flip, ...]
    table: tuple[Tightness, ...]

    @property
    def sound(self) -> bool:
        """Whether no more images flipped inside their radius than chance allows."""
        return len(self.broken) <= self.allowed

    @property
    def broken(self) -> tuple[int, ...]:
        """Ids of images that flipped inside their radius, but by rounding that it leaves out."""
        return tuple(sorted({f.image for f in self.flips if not f.rounding}))

    def to_dict(self) -> dict[str, Any]:
        """Everything in JSON types."""
        plain: dict[str, Any] = codec.plain(asdict(self) | {"sound": self.sound})
        return plain

    def __str__(self) -> str:
        return "\n".join(_lines(self))


def audit(
    certifier: Any,
    images: Any,
    labels: Any,
    *,
    certificates: Certificates | None = None,
    attacks: Any = None,
    ids: Any = None,
    n_random: int = 20,
    n_draws: int = 10_000,
    level: float = 0.001,
    seed: int = 0,
    batch_size: int = 256,
) -> Audit:
    """Attacks images within and beyond their certified radii; a change within is a failure.

    certifier: an Ellips, RandomizedSmoothing or SmoothedEllips, or the model that `certificates` of
    somebody else are about. images (N, ...) in [0, 1], labels (N,). certificates: of these images,
    in their order, or found by `ids`; None certifies them first. attacks: names (L2: DeepFool, CW,
    PGDL2, MSA; Linf: PGD, MSA) or a dict name -> f(model, eps) -> attack; None takes all of the
    norm. What they find is asked as it is and at the edge of the ball in its direction, and pulled
    near. n_random: random points of each ball that are asked as well, beside the image itself. Of a
    smoothed certifier the victim is the smoothed classifier: attacks climb the mean of a few noisy
    copies, and a candidate counts where `predict` with n_draws answers otherwise at the level
    `level` / candidates; that it abstains is no flip, and that the model itself flips is none
    either. seed: of attacks and points.

    Raises InputError for data that do not fit, ConfigError for attacks that are not known or none,
    and for a model that does not certify. Cost: that of the attacks, and 15 forward row-passes a
    change to pull it near (4 times n_draws where the victim is smoothed, and n_draws a candidate).

    >>> from torchattacks_ext.certify import Ellips, EllipsHead, LipschitzBound
    >>> head = EllipsHead.from_parameters([[0.0], [1.0]], 1.0)
    >>> model = Ellips(torch.nn.Flatten(), head, LipschitzBound(1.0)).eval()
    >>> images = torch.tensor([0.2, 0.9]).reshape(2, 1, 1, 1)
    >>> found = audit(model, images, [0, 1], attacks=["PGDL2"])
    >>> found.sound, found.table[-1].least >= 1
    (True, True)
    """
    check_probabilities(level=level)
    seed = parse_seed(seed)
    n_random = parse_whole(n_random, "n_random", 0)
    pixels = check_images(as_tensor(images, "images"), BOUNDS, torch.float32)
    wanted = check_labels(labels, len(pixels))
    if not len(pixels):
        raise InputError("there are no images; give at least one")
    certificates = _claims(certifier, certificates, pixels, wanted, ids)
    # a claim that is not a number claims nothing
    claimed = (certificates.label >= 0) & (certificates.radius > 0)
    rows = claimed.nonzero().flatten()
    norm = certificates.norm
    attackers = attackers_of(attacks, norm)
    if not attackers and not n_random:
        raise ConfigError(
            "attacks is empty and n_random is 0: nothing would be tried, which finds nothing; name "
            "an attack, or give n_random"
        )
    each = 1 + HALVINGS_OF_DRAWS
    tries = len(rows) * each * (n_random + ASKS * sum(map(_tries, attackers)))
    victim = victim_of(certifier, n_draws, level, tries, batch_size)
    work = Work(
        victim,
        pixels[rows],
        certificates.label[rows],
        certificates.ids[rows],
        certificates.radius[rows],
        norm,
        seed,
        certificates.closed,
        victim.edge(pixels[rows], certificates.lipschitz[rows]),
    )
    if len(rows):
        work.clean()
        for draw in range(n_random):
            work.random(draw)
        for attacker in attackers:
            work.attack(attacker)
    return Audit(
        tier=certificates.tier,
        claim=str(certificates.settings.get("certifier", "unknown")),
        victim=victim.name,
        norm=norm,
        n=len(rows),
        allowed=_allowed(certifier, certificates, len(rows)),
        flips=tuple(work.flips),
        table=tuple(work.told()),
    )


def _claims(
    certifier: Any, given: Certificates | None, pixels: Tensor, labels: Tensor, ids: Any
) -> Certificates:
    """The certificates of these images, in their order; made where none are given."""
    if given is None:
        if not callable(getattr(certifier, "certify", None)):
            raise ConfigError(
                f"{type(certifier).__name__} does not certify; give certificates= of these images, "
                "or an Ellips, RandomizedSmoothing or SmoothedEllips"
            )
        made: Certificates = certifier.certify(pixels, labels, ids=ids)
        return made
    if not isinstance(given, Certificates):
        raise StatusError(
            f"certificates is {type(given).__name__}, expected Certificates; radii of others "
            "become such by foreign_certificates()"
        )
    if len(given) != len(pixels):
        raise InputError(
            f"{len(given)} certificates for {len(pixels)} images; give those of these images, in "
            "their order"
        )
    if ids is None:
        return given
    keys = IdBook().given(ids)
    if bool((given.find(keys) < 0).any()):
        raise InputError(
            "ids are others than those of the certificates; give the ids with which the images "
            "were certified, or none where the order is the same"
        )
    return given.select(keys)


def _tries(attacker: Attacker) -> int:
    """How often it is run on an image."""
    return len(FACTORS) if attacker.ranged else 1


def _allowed(certifier: Any, certificates: Certificates, n: int) -> int:
    if not isinstance(certifier, SmoothedCertifier):
        return 0
    level = float(certificates.settings.get("significance", 0.0))
    return int(stats.binom.ppf(0.999, n, level)) if level else 0


def _lines(found: Audit) -> Iterable[str]:
    verdict = "not contradicted" if found.n else "nothing claimed"
    verdict = verdict if found.sound else "BROKEN"
    yield (
        f"{verdict}: {found.n} certificates of {found.claim} ({found.tier}, {found.norm}), about "
        f"{found.victim}; {len(found.broken)} changed inside, {found.allowed} allowed"
    )
    rounded = {f.image for f in found.flips if f.rounding} - set(found.broken)
    if rounded:
        yield (
            f"  {len(rounded)} more changed so near the edge that the encoder's rounding may have "
            "done it, which these radii leave out; encoder_slack= covers that"
        )
    for line in found.table:
        told = f"  {line.attack}: {line.changed} of {line.tried} changed, {line.inside} inside"
        if line.least == line.least:  # nan: no change, or no finite radius
            told += (
                f"; length / radius at least {line.least:.3g}, median {line.median:.3g}, "
                f"quartiles {line.quartiles[0]:.3g} and {line.quartiles[1]:.3g}"
            )
        yield told
    for flip in found.flips[:10]:
        yield (
            f"  {flip.attack} changed image {flip.image} at {flip.length:.6g}, inside its radius "
            f"{flip.radius:.6g}"
        )
