"""Does an attack find what is known to be there? A unit test of attacks, not of models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from .._typing import Norm
from ..data.door import check_images
from ..defenses.hpm.splitting import split_classifier
from ..engines.fork import ForkedRng
from ..errors import ConfigError, InputError
from ..models.logits import full_dtype
from ..models.session import on_device_of, session
from ..numerics.arguments import parse_number, parse_seed, parse_whole
from ..numerics.ids import content_hashes
from ..numerics.norms import check_norm, project
from ..numerics.rates.binomial import clopper_pearson
from ..results.base import codec
from ..results.base.document import Document
from ..results.base.unknown import known_fields
from ..results.base.words import one_line, percent_of
from .binarised import ORDER, Binarised, Trunk, edge_point, plant

MakeAttack = Callable[[Binarised], Callable[[Tensor, Tensor], Tensor]]


@dataclass(frozen=True, kw_only=True, repr=False)
class AttackUnitTest(Document):
    """What an attack found of what was planted.

    Arguments:
        n (int): images with a planted point.
        found (int): of these, images whose other class the attack found.
        by_chance (int): of these, images whose other class one of `draws` random points has.
        draws (int): of such points, on the boundary of the ball.
        left_out (int): images for which no discriminator could be made.
        asked (float): share that has to be found.
        eps (float), norm (str), seed (int): of the ball, and of all random points.
        features (str): what the discriminators stand on.
        extra (dict): fields of a newer file that this version does not know; written back.
    """

    schema: ClassVar[str] = "attack_unit_test/1"

    n: int
    found: int
    by_chance: int
    draws: int
    left_out: int
    asked: float
    eps: float
    norm: str
    seed: int
    features: str
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """Of the planted classes that were found."""
        return self.found / self.n

    @property
    def verdict(self) -> Literal["passed", "failed"]:
        """Whether at least the share that was asked for was found."""
        return "passed" if self.share >= self.asked else "failed"

    @property
    def passed(self) -> bool:
        """The same as a truth value."""
        return self.verdict == "passed"

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Exact interval of the share (Clopper-Pearson), images taken as independent."""
        low, high = clopper_pearson(self.found, self.n, confidence)
        return float(low), float(high)

    def summary(self, confidence: float = 0.95) -> dict[str, Any]:
        """The verdict and its numbers."""
        return {
            "verdict": self.verdict,
            "n": self.n,
            "share": self.share,
            "interval": list(self.interval(confidence)),
            "asked": self.asked,
            "by_chance": self.by_chance / self.n,
            "left_out": self.left_out,
        }

    def __str__(self) -> str:
        low, high = self.interval()
        return (
            f"{self.verdict}: found {self.found} of {self.n} ({percent_of(self.share)}, 95 % "
            f"interval [{percent_of(low)}, {percent_of(high)}]), asked {percent_of(self.asked)}; "
            f"by {self.draws} random points {self.by_chance}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything, in JSON types."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "extra"}
        return {**codec.plain(self.extra), "schema": self.schema, **codec.plain(own)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> AttackUnitTest:
        """The inverse of :meth:`to_dict`. Raises InputError for what is not whole."""
        raw = codec.migrate(dict(data), cls.schema)
        names = {f.name for f in fields(cls)} | {"schema"}
        extra = {key: value for key, value in raw.items() if key not in names}
        known = {key: value for key, value in raw.items() if key != "extra"}
        return known_fields(cls, {**known, "extra": extra})

    def __repr__(self) -> str:
        return one_line(type(self).__name__, self.summary(), ())


@torch.inference_mode(False)
def attack_unit_test(
    make_attack: MakeAttack,
    model: nn.Module,
    images: Tensor,
    eps: float = 8 / 255,
    norm: Norm = "Linf",
    *,
    cut: bool = True,
    seed: int = 0,
    inner: int = 64,
    draws: int = 20,
    asked: float = 0.95,
) -> AttackUnitTest:
    """Replace the last layer so that each ball holds another class for certain; run the attack.

    Zimmermann et al. 2022 (:mod:`.binarised`). An attack that fails is too weak for *these*
    features (few steps, masked gradients): what it leaves elsewhere on them says nothing. One that
    passes has shown no more than that it can follow them. What comes back is projected on the ball
    and predicted again; the attack does not grade itself.

    Args:
        make_attack: from a model, images to (N, 2) scores, to an attack: a callable of
            (images, labels) that gives images; of torchattacks, MSA or your own. All labels are 0.
            The model's method `on(trunk)` gives the same task on another trunk, for a surrogate.
        model: a classifier that ends in a Linear, which is taken off; with `cut` False, anything
            from images to features.
        images: (N, ...) in [0, 1], right or wrong.
        eps, norm: the ball.
        seed: of all random points, and of what the attack draws from the global generators.
        inner: points an image that the discriminator calls its class.
        draws: random points an image, for the share that chance alone finds.
        asked: share that has to be found, in (0, 1].

    Returns:
        :class:`AttackUnitTest`.

    Raises:
        InputError: images that are none, or on none of which a discriminator can be made (the model
            may be random, or eps too small for its features). ConfigError: a model that cannot be
            cut, other settings.
        ModelContractError: a model in half precision.

    Cost: N (inner + 4 + draws) forward row-passes, and the attack's.

    Example:
        >>> import torchattacks
        >>> from torchattacks_ext.testing import small_net
        >>> def pgd(model):
        ...     return torchattacks.PGD(model, eps=0.1, alpha=0.02, steps=20)
        >>> images = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        >>> attack_unit_test(pgd, small_net(), images, eps=0.1).verdict
        'passed'
    """
    check_norm(norm)
    eps, seed = parse_number(eps, "eps"), parse_seed(seed)
    inner, draws = (
        parse_whole(value, name, least)
        for value, name, least in ((inner, "inner", 2), (draws, "draws", 1))
    )
    asked = parse_number(asked, "asked")
    if not eps > 0 or not 0 < asked <= 1:
        raise ConfigError(f"eps={eps!r} must be > 0, asked={asked!r} in (0, 1]")
    pixels = on_device_of(model, check_images(images, (0.0, 1.0), full_dtype(model)))
    if not len(pixels):
        raise InputError("there are no images; give at least one")
    trunk, words = _trunk(model, pixels, cut)
    n = n_found = chance = 0
    with session(model):
        for rows in _groups(pixels, eps, norm):
            part = pixels[rows]
            with torch.no_grad():
                built = plant(trunk, part, eps, norm, seed=seed, inner=inner)
            keep = built.usable
            if not bool(keep.any()):
                continue
            own = (built.model, part[keep], eps, norm)
            n += int(keep.sum())
            n_found += int(_found(make_attack, *own, seed).sum())
            chance += int(_by_chance(*own, seed, draws).sum())
    if not n:
        raise InputError(
            f"on none of {len(pixels)} images a discriminator tells the inner points from the "
            "planted one: the model may be random, or the features do not move within eps"
        )
    return AttackUnitTest(
        n=n,
        found=n_found,
        by_chance=chance,
        draws=draws,
        left_out=len(pixels) - n,
        asked=asked,
        eps=eps,
        norm=norm,
        seed=seed,
        features=words,
    )


def _trunk(model: nn.Module, images: Tensor, cut: bool) -> tuple[Trunk, str]:
    if not cut:
        return model, "outputs"
    if not isinstance(model, nn.Module):
        raise ConfigError(
            f"a {type(model).__name__} has no last layer to take off: give a Module, or say "
            "cut=False for a trunk"
        )
    try:
        trunk, _, name = split_classifier(model, images[:2])
    except ConfigError as error:
        raise ConfigError(f"{error}; or say cut=False for a trunk") from error
    return trunk.eval().requires_grad_(False), f"what {name!r} takes"


def _groups(images: Tensor, eps: float, norm: Norm) -> list[Tensor]:
    """Row numbers in groups whose images are more than 2 eps apart, so that balls do not meet."""
    flat = images.flatten(1)
    near = (torch.cdist(flat, flat, p=ORDER[norm]) <= 2 * eps * (1 + 1e-4)).cpu()
    groups: list[list[int]] = []
    for row in range(len(images)):
        for group in groups:
            if not bool(near[row, group].any()):
                group.append(row)
                break
        else:
            groups.append([row])
    return [torch.tensor(group, device=images.device) for group in groups]


def _found(
    make_attack: MakeAttack,
    model: Binarised,
    images: Tensor,
    eps: float,
    norm: Norm,
    seed: int,
) -> Tensor:
    labels = torch.zeros(len(images), dtype=torch.int64, device=images.device)
    with torch.enable_grad(), ForkedRng(seed):
        attack = make_attack(model)
        if not callable(attack):
            raise InputError(
                f"make_attack gave {type(attack).__name__}, expected an attack: a callable of "
                "(images, labels)"
            )
        found = attack(images.clone(), labels)
    model.eval()  # torchattacks' own attacks leave training mode behind
    if not isinstance(found, Tensor) or found.shape != images.shape:
        shape = tuple(getattr(found, "shape", ()))
        raise InputError(
            f"the attack gave {type(found).__name__} {shape}, expected images "
            f"{tuple(images.shape)}"
        )
    pixels = check_images(torch.nan_to_num(found.detach()), None, images.dtype)
    with torch.no_grad():
        logits: Tensor = model(project(images, pixels.to(images.device), eps, norm))
    return logits.argmax(1) > 0


def _by_chance(
    model: Binarised, images: Tensor, eps: float, norm: Norm, seed: int, draws: int
) -> Tensor:
    ids = content_hashes(images, None, (0.0, 1.0)).to(images.device)
    found = torch.zeros(len(images), dtype=torch.bool, device=images.device)
    with torch.no_grad():
        for k in range(draws):
            # other draws than those that were planted
            point = edge_point(images, ids, eps, norm, seed, 1000 + k)
            found |= model(point).argmax(1) > 0
    return found
