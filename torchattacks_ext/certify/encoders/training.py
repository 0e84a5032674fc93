"""How does an encoder learn latents that can be certified? On the distances that will count."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from math import cos, isfinite, pi
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ...data.door import as_tensor, check_labels
from ...errors import ConfigError, InputError
from ...numerics.arguments import parse_number, parse_seed, parse_whole
from ...numerics.streams import uniform
from ...samplers import Sampler
from ..ellips import EllipsHead
from .gaussians import Gaussians, check_covariance, radius_loss
from .keeping import Keeper, key_of
from .orthogonal import nearest_, orthogonal_layers, principal_, retract_

WARM = 0.15
"""Share of the steps over which the learning rates rise; then they fall like a cosine to 0."""


@dataclass(frozen=True)
class TrainSettings:
    """What a training is told; checked as a whole. Fields: see :func:`train_encoder`."""

    epochs: int
    eps: float
    temperature: float
    lr: float
    head_lr: float
    batch_size: int
    covariance: Literal["full", "shared"]
    shrinkage: float
    principal: bool
    seed: int

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch_size", 1)):
            whole = parse_whole(getattr(self, name), name, least)
            object.__setattr__(self, name, whole)
        object.__setattr__(self, "seed", parse_seed(self.seed))
        for name in ("eps", "temperature", "lr", "head_lr"):
            number = parse_number(getattr(self, name), name)
            object.__setattr__(self, name, number)
        if not self.temperature > 0:
            raise ConfigError("temperature=0 divides by zero; give a number > 0")
        check_covariance(self.covariance)


@dataclass(frozen=True, eq=False)
class Trained:
    """What a training gives. encoder: a trained copy, in eval mode. head: of its latents.

    losses: mean loss of each epoch. settings: as they were told, in JSON types.
    """

    encoder: nn.Module
    head: EllipsHead
    losses: tuple[float, ...]
    settings: dict[str, Any]


def train_encoder(
    encoder: nn.Module,
    images: Tensor,
    labels: Any,
    *,
    epochs: int = 24,
    eps: float = 1.0,
    temperature: float = 0.25,
    lr: float = 3e-4,
    head_lr: float = 3e-3,
    batch_size: int = 128,
    covariance: Literal["full", "shared"] = "full",
    shrinkage: float = 0.2,
    principal: bool = True,
    augment: Sampler | None = None,
    seed: int = 0,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> Trained:
    r"""A copy of `encoder` and a Gaussian head, trained so that certified radii grow.

    The loss is :func:`.radius_loss` of the signed distances from each latent to the boundaries of
    its class in latent space: what the exact certificate of a 1-Lipschitz encoder measures. After
    each step of Adam every Linear and Conv2d layer is moved back to orthogonal weights (one
    Newton-Schulz step; the exact ones at the end), so that the encoder moves no two images apart.
    The head starts as the fit of the first latents and is trained along.

    Arguments:
        encoder (nn.Module): images (N, ...) to latents (N, d); of its layers only Linear and Conv2d
            have parameters, say :func:`.orthogonal_mlp`. It is not changed.
        images (Tensor): (N, ...) in [0, 1]. labels (Tensor): (N,) in 0 .. K-1.
        epochs (int): passes over the images. (Default: 24)
        eps (float): radius that the loss asks for, in pixel units. (Default: 1.0)
        temperature (float): softness of that. (Default: 0.25)
        lr (float): of the encoder; 0 trains the head only. (Default: 0.0003)
        head_lr (float): of the head. (Default: 0.003)
        batch_size (int): (Default: 128)
        covariance (str): "full" (each class its own) or "shared" (flat boundaries).
            (Default: "full")
        shrinkage (float): of the head at the start, in [0, 1]. (Default: 0.2)
        principal (bool): the last layer starts as the principal directions of what enters it; the
            encoder is then an nn.Sequential that ends in a Linear. (Default: True)
        augment (Sampler): a law of changes, drawn anew for each epoch and image, such as
            ``Affine(rotation=10)``. (Default: None)
        seed (int): of order and augmentation; no global generator is used. (Default: 0)
        checkpoint (path): a file to which each finished epoch is written, and from which an
            interrupted training of the same settings, data and encoder goes on. (Default: None)
        progress (bool): show a bar. (Default: False)

    Returns :class:`Trained`. Raises ConfigError for settings outside their domains and for layers
    that cannot be kept orthogonal, InputError for images and labels that do not fit, StateError for
    a checkpoint of another training. Ctrl-C ends it at once; the checkpoint has the last whole
    epoch. Cost: `epochs` forward and backward row-passes an image, and two forward ones.

    >>> from .networks import orthogonal_mlp
    >>> images = torch.cat([torch.rand(8, 1, 2, 2) / 3, 1 - torch.rand(8, 1, 2, 2) / 3])
    >>> labels = torch.arange(2).repeat_interleave(8)
    >>> found = train_encoder(orthogonal_mlp((1, 2, 2), 2), images, labels, epochs=2)
    >>> found.head(found.encoder(images)).argmax(1).equal(labels)
    True
    """
    told = TrainSettings(
        epochs=epochs,
        eps=eps,
        temperature=temperature,
        lr=lr,
        head_lr=head_lr,
        batch_size=batch_size,
        covariance=covariance,
        shrinkage=shrinkage,
        principal=principal,
        seed=seed,
    )
    images, labels = _data(images, labels)
    with torch.inference_mode(False), torch.enable_grad():
        # in eval mode: what is trained is what is certified, and nothing draws
        learner = copy.deepcopy(encoder).eval().requires_grad_(True)
        run = _Run(learner, told, images, labels, augment)
        facts = asdict(told) | {"augment": augment and augment.settings()}
        keeper = Keeper(checkpoint, key_of(facts, encoder, images, labels))
        return run.finish(keeper, progress, facts)


def _data(images: Any, labels: Any) -> tuple[Tensor, Tensor]:
    images = as_tensor(images, "images").detach()
    if images.dim() < 2 or not len(images) or not images.is_floating_point():
        raise InputError(
            f"images are {tuple(images.shape)} {images.dtype}, expected (N, ...) floating in "
            "[0, 1]"
        )
    with torch.inference_mode(
        False
    ):  # a gradient may pass a copy of an inference tensor
        images = images.clone() if images.is_inference() else images
    return images, check_labels(labels, len(images)).to(images.device)


class _Run:
    """One training: the copy of the encoder, the Gaussians, their optimiser, the steps."""

    def __init__(
        self,
        encoder: nn.Module,
        settings: TrainSettings,
        images: Tensor,
        labels: Tensor,
        augment: Sampler | None,
    ) -> None:
        self.encoder, self.settings = encoder, settings
        self.images, self.labels, self.augment = images, labels, augment
        self.layers = orthogonal_layers(encoder)
        with torch.no_grad():
            if settings.principal:
                _principal_start(encoder, images)
            parts = torch.split(images, 1024)
            z = torch.cat([encoder(part).flatten(1) for part in parts])
        shrinkage = settings.shrinkage
        head = EllipsHead.fit(z, labels, settings.covariance, shrinkage)
        self.gaussians = Gaussians(head)
        self.optimiser = torch.optim.Adam(
            [
                {"params": list(encoder.parameters()), "at": settings.lr},
                {"params": list(self.gaussians.parameters()), "at": settings.head_lr},
            ]
        )
        self.losses: list[float] = []

    def finish(self, keeper: Keeper, progress: bool, facts: dict[str, Any]) -> Trained:
        """Every epoch that is left, then the result."""
        from tqdm.auto import tqdm

        keeper.restore(self)
        epochs, done = self.settings.epochs, len(self.losses)
        off = None if progress else True
        with tqdm(total=epochs, initial=done, desc="train", disable=off) as shown:
            for epoch in range(done, epochs):
                self.losses.append(self._epoch(epoch))
                keeper.write(self)
                shown.update()
                shown.set_postfix(loss=f"{self.losses[-1]:.4f}")
        nearest_(self.layers)
        head = self.gaussians.head()
        return Trained(self.encoder.eval(), head, tuple(self.losses), facts)

    def _epoch(self, epoch: int) -> float:
        total, ask = 0.0, self.settings
        batches = list(self._batches(epoch))
        for number, rows in enumerate(batches):
            share = (epoch + number / len(batches)) / ask.epochs
            for group in self.optimiser.param_groups:
                group["lr"] = group["at"] * rate_at(share)
            z = self.encoder(self._drawn(rows, epoch)).flatten(1).float()
            distances = self.gaussians(z, self.labels[rows])
            loss = radius_loss(distances, ask.eps, ask.temperature)
            self.optimiser.zero_grad()
            torch.autograd.backward(loss)
            self.optimiser.step()
            if ask.lr > 0:
                retract_(self.layers)
            total += loss.item() * len(rows)
        if not isfinite(total):
            raise ConfigError(
                f"the loss is {total} in epoch {epoch + 1}: lr={ask.lr:g} or head_lr="
                f"{ask.head_lr:g} is too large, or images are not finite"
            )
        return total / len(self.images)

    def _batches(self, epoch: int) -> Iterator[Tensor]:
        ids = torch.arange(len(self.images), device=self.images.device)
        order = uniform(self.settings.seed, ids, "order", epoch, 1)[:, 0].argsort()
        yield from torch.split(order, self.settings.batch_size)

    def _drawn(self, rows: Tensor, epoch: int) -> Tensor:
        images = self.images[rows]
        if self.augment is None:
            return images
        return self.augment.sample(images, _uniforms(self.settings.seed, rows, epoch))


def _uniforms(seed: int, ids: Tensor, draw: int) -> Callable[..., Tensor]:
    def u(size: int, purpose: str = "") -> Tensor:
        return uniform(seed, ids, f"augment {purpose}", draw, size)

    return u


def rate_at(share: float) -> float:
    """The learning rate at a share of the steps, as a factor: a linear rise, then a cosine.

    >>> rate_at(0.0), rate_at(WARM), round(rate_at(1.0), 6)
    (0.0, 1.0, 0.0)
    """
    if share < WARM:
        return share / WARM
    return (1 + cos(pi * (share - WARM) / (1 - WARM))) / 2


def _principal_start(encoder: nn.Module, images: Tensor) -> None:
    layers = list(encoder) if isinstance(encoder, nn.Sequential) else []
    if not layers or not isinstance(layers[-1], nn.Linear):
        raise ConfigError(
            "principal=True needs an nn.Sequential that ends in a Linear layer; give "
            "principal=False to start from the encoder's own weights"
        )
    body = nn.Sequential(*layers[:-1])
    parts = [body(part).flatten(1) for part in torch.split(images, 1024)]
    principal_(layers[-1], torch.cat(parts))
