"""Is a head that compares distances less sensitive than a linear one? Measured on one trunk."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..._typing import Norm
from ...data.door import check_images, check_label_range, check_labels
from ...errors import InputError
from ...models.logits import full_dtype
from ...models.session import on_device_of, session
from ...numerics.arguments import parse_number, parse_seed, parse_whole
from ...numerics.norms import check_norm
from ...results.heads import HeadSensitivity
from .ascent import Attack, changed_images, given_images, words_of
from .heads import OnTrunk, trunk_and_heads
from .measured import Measured


@torch.inference_mode(False)
def sensitivity_report(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    eps: float = 8 / 255,
    norm: Norm = "Linf",
    attack: Tensor | Attack | None = None,
    linear: nn.Linear | None = None,
    centroids: Tensor | None = None,
    batch_size: int = 256,
    seed: int = 0,
) -> HeadSensitivity:
    """The paper's measures of sensitivity, and three fair numbers, of the heads of one trunk.

    arXiv:2606.01746 compares a linear head with one by distances through the relative change of
    their scores (:mod:`.paper`) and says when the former exceeds the latter's supremum: eq. 8. Its
    probability is given for isotropic angles (:mod:`.angles`), for laws fitted to the angles
    (:mod:`.laws`) and as it was counted. Beside it stand numbers that compare heads fairly
    (:mod:`.fair`). It measures; what a head withstands says MSA.

    Args:
        model: an HPMModel (heads "fc", "l2" with the prototypes of the data set, "hpm" with those
            mixed for the batch of *all* images, held fixed under attack), a classifier that ends in
            a Linear, or a trunk, with `linear`.
        images, labels: (N, ...) in [0, 1], (N,); N >= 2, not those that the prototypes are of.
        eps, norm: the ball of the attack, in pixel units.
        attack: None: 20 steps down the margin of each head (Linf, L2); attacked images (N, ...); an
            attack of torchattacks, called once; or a function from a model to an attack, asked for
            each head, say ``lambda model: MSA(model, version="quick", eps=0.1)``. What comes back
            is projected on the ball.
        linear: the linear head of a trunk.
        centroids: (K, d), the head "l2" of a model that is no HPMModel.
        batch_size: rows at a time. seed: of the random starts.

    Returns:
        :class:`~torchattacks_ext.results.heads.HeadSensitivity`; told by `reports.heads`.

    Raises:
        InputError: images, labels or centroids that do not fit. ConfigError: other settings.
        ModelContractError: a model in half precision.

    Cost: N forward row-passes and, for each head, 22 forward and 20 backward (attack=None).

    Example:
        >>> from torchattacks_ext.testing import small_net
        >>> images = torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        >>> found = sensitivity_report(small_net(), images, torch.arange(12) % 3, eps=0.05)
        >>> [head.name for head in found.heads], found.n
        (['fc'], 12)
    """
    check_norm(norm)
    eps, seed = parse_number(eps, "eps"), parse_seed(seed)
    size = parse_whole(batch_size, "batch_size", 1)
    pixels = on_device_of(model, check_images(images, (0.0, 1.0), full_dtype(model)))
    whole = check_labels(labels, len(pixels)).to(pixels.device)
    if len(pixels) < 2:
        raise InputError(f"{len(pixels)} images; a law needs at least two")
    shown = attack
    if isinstance(attack, Tensor):
        shown = given_images(attack, pixels)
    with session(model), torch.no_grad():
        trunk, heads_of = trunk_and_heads(model, pixels, linear, centroids)
        z = _features(trunk, pixels, size)
        heads = heads_of(z.float().to(pixels.device))
        check_label_range(whole, len(heads[0].rows))
        found = []
        for head in heads:
            parts = []
            for rows in torch.split(torch.arange(len(pixels)), size):
                part = shown[rows] if isinstance(shown, Tensor) else shown
                ask = (OnTrunk(trunk, head), pixels[rows], whole[rows])
                parts.append(changed_images(part, *ask, eps, norm, seed))
            moved = torch.cat(parts)
            far = (moved - pixels).flatten(1).norm(dim=1).cpu().double()
            after = _features(trunk, moved, size)
            found.append(Measured(head, z, after, whole.cpu(), far))
    linear_head = found[0]
    return HeadSensitivity(
        n=len(pixels),
        size=z.shape[1],
        n_classes=len(heads[0].rows),
        eps=eps,
        norm=norm,
        attack=words_of(attack),
        heads=tuple(one.numbers() for one in found),
        pairs=tuple(
            one.beside(linear_head) for one in found[1:] if one.head.kind == "distance"
        ),
    )


def _features(trunk: nn.Module, images: Tensor, size: int) -> Tensor:
    parts = torch.split(images, size)
    return torch.cat([trunk(part).cpu().double() for part in parts])
