"""A net with two classes: train one on PneumoniaMNIST that withstands small changes.

Half of each batch is changed by one signed gradient step from a random start in the ball of 4/255
(FGSM with a random start, Wong et al. 2020, arXiv:2001.03994), so that attacks leave something.
4,708 X-rays of 28 x 28 pixels, a minute of one core; the same seed gives the same weights. The
weights go where `--out` says:

    python benchmarks/pneumonia_net.py --out /tmp/pneumonia.pt
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import torch
from tax_data import xray_images
from torch import Tensor, nn
from torch.nn import functional as F

EPS, EPOCHS, BATCH, SEED = 4 / 255, 6, 128, 0


def build() -> nn.Module:
    """The net without its weights: pixels (N, 1, 28, 28) in [0, 1] to two scores."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 4, 2, 1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 4, 2, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 49, 64),
        nn.ReLU(),
        nn.Linear(64, 2),
    )


def load(path: str | Path) -> nn.Module:
    """The trained net of `path`, in eval mode, its weights frozen."""
    net = build()
    net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return net.eval().requires_grad_(False)


def train(seed: int = SEED) -> nn.Module:
    """Train it; the random state of torch is as before afterwards."""
    images, labels = xray_images(None, "train")
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        net = build()
        steps = -(-len(images) // BATCH) * EPOCHS
        optimiser = torch.optim.Adam(net.parameters(), lr=2e-3)
        rates = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
        for _ in range(EPOCHS):
            for rows in torch.randperm(len(images)).split(BATCH):
                inputs, wanted = images[rows], labels[rows]
                half = len(rows) // 2
                near = _near(net, inputs[:half], wanted[:half])
                loss = F.cross_entropy(net(torch.cat([near, inputs[half:]])), wanted)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                rates.step()
    return net.eval().requires_grad_(False)


def _near(net: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """One signed step from a random start, in the ball and the box."""
    moved = torch.empty_like(images).uniform_(-EPS, EPS).requires_grad_()
    loss = F.cross_entropy(net(images + moved), labels)
    (gradient,) = torch.autograd.grad(loss, moved)
    moved = (moved.detach() + 1.25 * EPS * gradient.sign()).clamp(-EPS, EPS)
    return (images + moved).clamp(0, 1)


def main() -> None:
    """Train, keep the weights, print the accuracy on the test images."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", required=True, help="file of the weights")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    started = time.perf_counter()
    net = train()
    seconds = time.perf_counter() - started
    Path(asked.out).parent.mkdir(parents=True, exist_ok=True)
    torch.save(net.state_dict(), asked.out)
    images, labels = xray_images(None)
    right = net(images).argmax(1) == labels
    classes = [round(float(right[labels == k].float().mean()), 4) for k in (0, 1)]
    found = {"n": len(labels), "accuracy": round(float(right.float().mean()), 4)}
    found |= {"accuracy_per_class": classes, "seconds": round(seconds, 1)}
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
