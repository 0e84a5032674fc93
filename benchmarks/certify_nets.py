"""Which nets are certified? One of each kind for MNIST, PneumoniaMNIST and CIFAR-10, trained here.

Three certifiers a data set, small enough that 5 million noisy copies take minutes of one thread:

* :func:`ellips`: an orthogonal projection and Gaussians trained on the certified radius
  (ellips_mnist.py); :class:`Ellips`, L = 1, one forward row-pass an image.
* :func:`smoothing`: :func:`cnn`, two convolutions and two linear layers, trained under the noise
  of :data:`SIGMA`, in a :class:`RandomizedSmoothing`.
* :func:`smoothed_ellips`: the same net up to its last layer, which gives K - 1 latents in the unit
  ball that were pulled to the corners of a regular simplex under the same noise, and a head of
  shared covariance that is fitted to noisy latents; :class:`SmoothedEllips`.

`make(name, dataset, folder, **changed)` gives any of them by the names of :data:`NAMES`;
`test_pixels(dataset, n)` gives the first n of the test images in a fixed random order: a sample of
them. All nets are in eval mode, on [0, 1] pixels, and the same for the same torch: seeds are fixed,
the global generator is as before. Weights lie in `folder` (KIND_DATASET.pt or .safetensors) and are
read from there the next time; nothing else is written.

Run: TAX_DATA=... python benchmarks/certify_nets.py --folder /tmp/certify_nets
(trains what is missing, one thread; prints clean accuracy and seconds)
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tax_data
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torchattacks_ext.certify import (
    Ellips,
    EllipsHead,
    RandomizedSmoothing,
    SmoothedEllips,
)
from torchattacks_ext.certify.encoders import orthogonal_mlp, train_encoder
from torchattacks_ext.numerics.streams import uniform
from torchattacks_ext.samplers import Affine

DATASETS = ("mnist", "pneumoniamnist", "cifar10")
NAMES = ("Ellips", "RandomizedSmoothing", "SmoothedEllips")
SHAPE = {"mnist": (1, 28, 28), "pneumoniamnist": (1, 28, 28), "cifar10": (3, 32, 32)}
CLASSES = {"mnist": 10, "pneumoniamnist": 2, "cifar10": 10}
SIGMA = {"mnist": 0.5, "pneumoniamnist": 0.25, "cifar10": 0.25}
"""Noise of training and of smoothing, in pixel units."""
SEED, BATCH, RATE = 0, 128, 2e-3
EPOCHS = {"mnist": 12, "pneumoniamnist": 12, "cifar10": 30}
HEAD: dict[str, dict[str, Any]] = {
    "mnist": {"dim": 128, "epochs": 12},
    "pneumoniamnist": {"dim": 64, "epochs": 12},
    "cifar10": {"dim": 128, "epochs": 12},
}
ROTATION = {"rotation": 10.0, "translation": 0.018, "scale": 0.1}
GAP = 2.0
"""Difference of two logits of a latent at a corner: little, so that they are pulled there. Chosen
on training images; with twice as much certified radii halve on PneumoniaMNIST."""
SHRINKAGE = 0.5
"""Of the shared covariance of smoothed latents."""


def train_pixels(dataset: str) -> tuple[Tensor, Tensor]:
    """All training images (N, C, H, W) and labels (N,) of the data folder."""
    if dataset == "pneumoniamnist":
        return tax_data.xray_images(None, "train")
    return tax_data.train_images(dataset)


def test_pixels(dataset: str, n: int | None = None) -> tuple[Tensor, Tensor]:
    """n test images (n, C, H, W) and labels (n,) in a fixed random order; None for all."""
    if dataset == "pneumoniamnist":
        images, labels = tax_data.xray_images(None)
    else:
        images, labels = tax_data.test_images(dataset, 10_000)
    draws = uniform(SEED, torch.arange(len(labels)), "certify_nets", 0, 1)[:, 0]
    order = draws.argsort(stable=True)[:n]
    return images[order], labels[order]


test_pixels.__test__ = False  # type: ignore[attr-defined]


def ellips(dataset: str, folder: Path) -> Ellips:
    """Orthogonal projection and Gaussian head; the bound is that of the rules, 1."""
    told = dict(HEAD[dataset])
    encoder = orthogonal_mlp(SHAPE[dataset], told.pop("dim"))
    run = train_encoder(
        encoder,
        *train_pixels(dataset),
        eps=1.0,
        temperature=0.25,
        lr=1e-4,
        head_lr=3e-3,
        augment=Affine(**ROTATION) if dataset == "mnist" else None,
        checkpoint=folder / f"Ellips_{dataset}.safetensors",
        **told,
    )
    return Ellips(run.encoder, run.head).eval()


def build(dataset: str, outputs: int) -> nn.Sequential:
    """The small net, weights as torch draws them: pixels to `outputs` numbers."""
    channels, side, _ = SHAPE[dataset]
    return nn.Sequential(
        nn.Conv2d(channels, 16, 4, 2, 1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 4, 2, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * (side // 4) ** 2, 64),
        nn.ReLU(),
        nn.Linear(64, outputs),
    )


def cnn(dataset: str, folder: Path) -> nn.Module:
    """The base net of randomised smoothing: pixels to K logits."""
    net = build(dataset, CLASSES[dataset])
    return _trained("cnn", dataset, net, lambda z: z, folder)


def latent_net(dataset: str, folder: Path) -> nn.Module:
    """The encoder of smoothed latents: pixels to K - 1 numbers, not yet moved into the ball."""
    k = CLASSES[dataset]
    corners = GAP * (k - 1) / k * simplex(k)
    return _trained(
        "latent",
        dataset,
        build(dataset, k - 1),
        lambda z: (z / z.norm(dim=1, keepdim=True).clamp(min=1)) @ corners.T,
        folder,
    )


def simplex(k: int) -> Tensor:
    """k unit vectors (k, k - 1) of equal angles, float32.

    >>> [round(x, 6) for x in (simplex(3) @ simplex(3).T)[0].tolist()]
    [1.0, -0.5, -0.5]
    """
    sizes = torch.arange(
        1, k, dtype=torch.float64
    )  # the basis of Helmert, a column each
    basis = (
        torch.ones(k, k - 1, dtype=torch.float64).triu() - torch.diag(sizes, -1)[:, :-1]
    )
    found = basis / (sizes * (sizes + 1)).sqrt()
    return (found / found.norm(dim=1, keepdim=True)).float()


def smoothing(dataset: str, folder: Path, **changed: Any) -> RandomizedSmoothing:
    """The net under its noise; `changed` as for RandomizedSmoothing."""
    net = cnn(dataset, folder)
    return RandomizedSmoothing(net, **{"sigma": SIGMA[dataset], **changed})


def smoothed_ellips(dataset: str, folder: Path, **changed: Any) -> SmoothedEllips:
    """The encoder under its noise and its head; `changed` as for SmoothedEllips."""
    net, sigma = latent_net(dataset, folder), SIGMA[dataset]
    images, labels = train_pixels(dataset)
    generator = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        parts = [
            net(one + sigma * torch.randn(one.shape, generator=generator))
            for one in images.split(256)
        ]
    z = torch.cat(parts).double()
    z = z / z.norm(dim=1, keepdim=True).clamp(min=1)
    head = EllipsHead.fit(z, labels, "shared", SHRINKAGE, priors="uniform")
    return SmoothedEllips(net, head, **{"sigma": sigma, **changed})


def make(name: str, dataset: str, folder: Path, **changed: Any) -> Any:
    """A certifier by its name; `changed` only for those that draw noise."""
    if name == "Ellips":
        return ellips(dataset, folder)
    return {"RandomizedSmoothing": smoothing, "SmoothedEllips": smoothed_ellips}[name](
        dataset, folder, **changed
    )


def _trained(
    kind: str,
    dataset: str,
    net: nn.Sequential,
    logits: Callable[[Tensor], Tensor],
    folder: Path,
) -> nn.Module:
    """`net` trained under noise on the cross entropy of `logits(net(x))`, or as it was kept."""
    path = folder / f"{kind}_{dataset}.pt"
    if path.is_file():
        net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        return net.eval().requires_grad_(False)
    images, labels = train_pixels(dataset)
    epochs, sigma = EPOCHS[dataset], SIGMA[dataset]
    with torch.random.fork_rng([]):
        torch.manual_seed(SEED)
        for module in net:
            if isinstance(module, (nn.Linear, nn.Conv2d)):
                module.reset_parameters()
        steps = epochs * -(-len(images) // BATCH)
        optimiser = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=0.01)
        rates = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
        for _ in range(epochs):
            for rows in torch.randperm(len(images)).split(BATCH):
                inputs = images[rows]
                if dataset == "cifar10":
                    flip = torch.rand(len(rows), 1, 1, 1) < 0.5
                    inputs = torch.where(flip, inputs.flip(3), inputs)
                noisy = inputs + sigma * torch.randn_like(inputs)
                loss = F.cross_entropy(logits(net(noisy)), labels[rows])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                rates.step()
    folder.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    torch.save(net.state_dict(), part)
    part.replace(path)
    return net.eval().requires_grad_(False)


def main() -> None:
    """Train what is missing, print clean accuracy of 500 test images."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="of the weights")
    parser.add_argument("--dataset", choices=DATASETS, nargs="*", default=DATASETS)
    told = parser.parse_args()
    torch.set_num_threads(1)
    told.folder.mkdir(parents=True, exist_ok=True)
    for dataset in told.dataset:
        images, labels = test_pixels(dataset, 500)
        for name in NAMES:
            begun = time.perf_counter()
            found = make(name, dataset, told.folder)
            seconds = time.perf_counter() - begun
            if name == "Ellips":
                said = found(images).argmax(1)
            else:
                said = found.predict(images, n=100, significance=0.999).guess
            line = {"dataset": dataset, "certifier": name, "seconds": round(seconds, 1)}
            line["clean"] = float((said == labels).float().mean())
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
