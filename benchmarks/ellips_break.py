"""Does any attack flip an answer inside its certified radius, and how far outside does it succeed?

(Called by ellips_mnist.py; DeepFool goes image by image and takes most of the time.)

DeepFool and CW look for the nearest change; PGDL2 is run at growing radii, MSA (AutoAttack's L2
components on the model itself) at one radius, on fewer images. Each candidate that is answered
otherwise counts by its L2 length in float64, and is first pulled back along its segment to the
image by bisection, as far as it stays answered otherwise. An answer that changes within the
certified radius would be a flip: there must be none.

The scores are log posteriors with margins of tens of nats, where the gradient of the cross entropy
is exp(-margin) and PGDL2, which divides by its length plus 1e-10, hardly moves ("PGDL2"); on logits
divided by 20, which are answered alike, it works ("PGDL2 / 20").
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torchattacks
from torch import Tensor, nn

from torchattacks_ext import MSA
from torchattacks_ext.certify import Ellips
from torchattacks_ext.results import Certificates

RADII = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0)
FEW, MSA_EPS = 200, 1.0
HALVINGS = 15


class Softer(nn.Module):
    """The same answers; logits divided, so that the softmax does not round to 0 and 1."""

    def __init__(self, model: Ellips, temperature: float = 20.0) -> None:
        super().__init__()
        self.model, self.temperature = model, temperature

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(images) / self.temperature
        return logits


def answers(model: Ellips, images: Tensor) -> Tensor:
    """Labels of a batch."""
    with torch.no_grad():
        return torch.cat([model(part).argmax(1) for part in images.split(256)])


def pulled(model: Ellips, images: Tensor, found: Tensor, own: Tensor) -> Tensor:
    """Candidates on the segments to their images, as near as they are still answered otherwise."""
    low, high = torch.zeros(len(images)), torch.ones(len(images))
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        there = images + middle.reshape(-1, 1, 1, 1) * (found - images)
        flipped = answers(model, there) != own
        high, low = torch.where(flipped, middle, high), torch.where(
            flipped, low, middle
        )
    return images + high.reshape(-1, 1, 1, 1) * (found - images)


def distances(model: Ellips, images: Tensor, found: Tensor, own: Tensor) -> Tensor:
    """(N,) float64 L2 lengths of changes that are answered otherwise; inf where none is."""
    near = pulled(model, images, found, own)
    flipped = answers(model, near) != own
    length = (near.double() - images.double()).flatten(1).norm(dim=1)
    return torch.where(flipped, length, torch.inf)


def candidates(
    model: Ellips, images: Tensor, labels: Tensor
) -> Iterator[tuple[str, Callable[[], Tensor]]]:
    """(name, attack) in the order in which they run."""
    yield "DeepFool", lambda: torchattacks.DeepFool(model, steps=50)(images, labels)
    for c in (1.0, 10.0):
        attack = torchattacks.CW(model, c=c, steps=150, lr=0.02)
        yield f"CW c={c:g}", lambda attack=attack: attack(images, labels)
    for name, victim in (("PGDL2", model), ("PGDL2 / 20", Softer(model))):
        for eps in RADII if victim is not model else RADII[:4]:
            step = {"eps": eps, "alpha": eps / 8, "steps": 40}
            attack = torchattacks.PGDL2(victim, **step)
            yield f"{name} eps={eps:g}", lambda attack=attack: attack(images, labels)


def study(
    model: Ellips,
    table: Certificates,
    images: Tensor,
    labels: Tensor,
    data: dict[str, Any],
    save: Callable[[], None],
) -> None:
    """Fills `data`: one entry an attack, then the least distance over all of them."""
    own, radius = table.prediction, table.radius
    right = (table.clean_correct == 1) & (radius > 0)
    kept = torch.tensor(data.get("least", []), dtype=torch.float64)
    least = (
        kept
        if len(kept) == len(images)
        else torch.full((len(images),), torch.inf).double()
    )
    for name, attack in [*candidates(model, images, labels), ("MSA", None)]:
        if name in data:
            continue
        torch.manual_seed(0)
        started = time.perf_counter()
        rows = slice(0, FEW if name == "MSA" else len(images))
        found = _msa(model, images[rows], labels[rows]) if attack is None else attack()
        length = distances(model, images[rows], found.detach(), own[rows])
        least[rows] = torch.minimum(least[rows], length)
        data[name] = told(length, radius[rows], right[rows])
        data[name]["seconds"] = round(time.perf_counter() - started, 1)
        data["least"] = least.tolist()
        save()
        print(name, data[name])
    data["all"] = told(least, radius, right)
    print("all", data["all"])
    del data["least"]
    save()


def _msa(model: Ellips, images: Tensor, labels: Tensor) -> Tensor:
    attack = MSA(model, eps=MSA_EPS, norm="L2", version="quick", seed=0)
    return attack(images, labels)


def told(length: Tensor, radius: Tensor, right: Tensor) -> dict[str, Any]:
    """Counts of one attack on the images that are right and certified."""
    length, radius = length[right], radius[right]
    broken = length.isfinite()
    ratio = (
        length / radius
    )  # inf where nothing was found: the median of all counts them
    return {
        "images": len(radius),
        "broken": int(broken.sum()),
        "inside": int((length < radius).sum()),
        "least_ratio": _plain(ratio.min()),
        "median_ratio": _plain(ratio[broken].median()) if broken.any() else None,
        "median_ratio_all": _plain(ratio.median()),
    }


def _plain(value: Tensor) -> float | None:
    return float(value) if bool(value.isfinite()) else None
