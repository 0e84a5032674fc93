"""How far above the truth are bounds of layers, and what do layers that promise 1 really do?

Three parts: bound / exact norm of the dense Jacobian for random layers of every kind (see
lipschitz_cases.py); layers that are sold as 1-Lipschitz, measured and by their dense Jacobian; and
for a 32-64-64-8 ReLU net what the bound near an image gains over the product of the norms, with an
attack beside it. Resumable: kinds that are in the record with as many layers are not done again.

Run: python benchmarks/lipschitz_tightness.py [--n 200] [--kinds Linear Conv2d ...]
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import lipschitz_cases as cases
import numpy as np
import torch
from record import RESULTS, machine, read, write
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from torchattacks_ext.models.lipschitz import bound_net
from torchattacks_ext.models.lipschitz.ball import BallBounds
from torchattacks_ext.results.base.facts import versions

PATH = RESULTS / "lipschitz_tightness.json"
N_IMAGES, N_NETS, PARTS = 60, 4, (0.1, 0.25, 0.5)
"""Images a net, nets, and latent radii in parts of the median distance between latents."""


def main() -> None:
    """Measure what is missing and write the record after each kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--kinds", nargs="*", default=list(cases.KINDS))
    given = parser.parse_args()
    data = read(PATH) or {"kinds": {}}
    data |= {"machine": machine(), "versions": versions()}
    for name in given.kinds:
        if data["kinds"].get(name, {}).get("n") != given.n:
            data["kinds"][name] = measure(name, given.n)
            write(PATH, data)
    known = [name for name in cases.KINDS if name in data["kinds"]]
    data["kinds"] = {name: data["kinds"][name] for name in known}
    data["promises"] = list(promises())
    data["ball"] = ball()
    write(PATH, data)


def measure(name: str, n: int) -> dict[str, Any]:
    """Bound / truth of n random layers of one kind."""
    ratios, below, seconds = [], 0, 0.0
    for seed in range(n):
        rng = np.random.default_rng([seed, len(name)])
        module, shape = cases.KINDS[name](rng)
        start = time.perf_counter()
        bound = bound_net(module, shape).value
        seconds += time.perf_counter() - start
        truth = cases.truth(name, module, shape, rng)
        below += bound < truth * (1 - 1e-12)
        if truth > 0:
            ratios.append(bound / truth)
    low, median, high, most = np.quantile(ratios, [0, 0.5, 0.9, 1]).tolist()
    return {
        "n": n,
        "violations": int(below),
        "least": low,
        "median": median,
        "p90": high,
        "max": most,
        "exact_truth": name not in cases.POINTWISE,
        "ms": 1e3 * seconds / n,
    }


def promises() -> Iterator[dict[str, Any]]:
    """Layers that are sold as 1-Lipschitz: what they are bounded by, and their true norm."""
    for name, make, shape in _sold():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            layer = make().train()
            layer(torch.rand(2, *shape))
        layer = layer.eval()
        point = torch.randn(1, *shape, generator=torch.Generator().manual_seed(1))
        truth = cases.norm(cases.jacobian(layer, point).double())
        bound = bound_net(layer, shape).value
        yield {"name": name, "truth": truth, "bound": bound}


def _sold() -> list[tuple[str, Callable[[], nn.Module], tuple[int, ...]]]:
    image = (8, 9, 9)
    found: list[tuple[str, Callable[[], nn.Module], tuple[int, ...]]] = [
        (
            "torch spectral_norm(Linear(256, 256)), 2 steps",
            lambda: parametrizations.spectral_norm(nn.Linear(256, 256)),
            (256,),
        ),
        (
            "torch spectral_norm(Conv2d(8, 8, 3, padding=1))",
            lambda: parametrizations.spectral_norm(nn.Conv2d(8, 8, 3, padding=1)),
            image,
        ),
        (
            "torch orthogonal(Conv2d(8, 8, 3, padding=1))",
            lambda: parametrizations.orthogonal(nn.Conv2d(8, 8, 3, padding=1)),
            image,
        ),
    ]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from deel import torchlip as tl
    except ImportError:
        return found
    words = "deel-torchlip "
    return found + [
        (
            words + "SpectralConv2d(8, 8, 3, padding=1)",
            lambda: tl.SpectralConv2d(8, 8, 3, padding=1),
            image,
        ),
        (
            words + "SpectralConv2d(8, 8, 3, padding=2, padding_mode='symmetric')",
            lambda: tl.SpectralConv2d(8, 8, 3, padding=2, padding_mode="symmetric"),
            image,
        ),
        (
            words + "SpectralConv2d(8, 8, 3, padding=2, padding_mode='replicate')",
            lambda: tl.SpectralConv2d(8, 8, 3, padding=2, padding_mode="replicate"),
            image,
        ),
        (words + "ScaledAvgPool2d(2)", lambda: tl.ScaledAvgPool2d(2), image),
        (
            words + "ScaledAvgPool2d(2, ceil_mode=True)",
            lambda: tl.ScaledAvgPool2d(2, ceil_mode=True),
            image,
        ),
        (
            words + "ScaledL2NormPool2d(2, ceil_mode=True)",
            lambda: tl.ScaledL2NormPool2d(2, ceil_mode=True),
            image,
        ),
    ]


def ball() -> list[dict[str, Any]]:
    """Radii near images of 32-64-64-8 nets: gain over the product of norms, and an attack."""
    found = []
    for part in PARTS:
        gains, ratios, flips, seconds = [], [], 0, 0.0
        for seed in range(N_NETS):
            net, images = _net(seed)
            with torch.no_grad():
                rho = part * torch.pdist(net(images)).median().expand(N_IMAGES)
            bounds = BallBounds.of(net, (32,))
            start = time.perf_counter()
            radius = bounds.radius(images, rho)
            seconds += time.perf_counter() - start
            gains.append(radius * bounds.product / rho)
            needed = _least(net, images, rho, radius)
            flips += int((needed < radius).sum())
            ratios.append(needed / radius)
        found.append(
            {
                "part": part,
                "images": N_IMAGES * N_NETS,
                "gain": float(torch.cat(gains).median()),
                "least_gain": float(torch.cat(gains).min()),
                "attack": float(torch.cat(ratios).median()),
                "violations": flips,
                "ms": 1e3 * seconds / N_IMAGES / N_NETS,
            }
        )
    return found


def _net(seed: int) -> tuple[nn.Module, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = (
            nn.Linear(32, 64),
            nn.ReLU(),
            nn.Linear(64, 64),
            nn.ReLU(),
            nn.Linear(64, 8),
        )
        net = nn.Sequential(*layers).double().eval()
        return net, torch.rand(N_IMAGES, 32, dtype=torch.float64)


def _least(net: nn.Module, images: Tensor, rho: Tensor, radius: Tensor) -> Tensor:
    """The smallest radius at which an attack was seen to move a latent by rho, (N,).

    Ascent on the distance of the latents in balls of growing radius, with restarts; also inside the
    certified radius, where it must fail.
    """
    found = torch.full_like(radius, torch.inf)
    generator = torch.Generator().manual_seed(0)
    for factor in (
        0.999,
        1.1,
        1.2,
        1.35,
        1.5,
        1.75,
        2.0,
        2.5,
        3.0,
        4.0,
        6.0,
        8.0,
        12.0,
    ):
        size = factor * radius
        for _ in range(3):
            delta = torch.randn(images.shape, generator=generator, dtype=torch.float64)
            for _ in range(20):
                delta = delta / delta.norm(dim=1, keepdim=True) * size[:, None]
                delta.requires_grad_(True)
                moved = (net(images + delta) - net(images)).norm(dim=1)
                found = torch.where(
                    (moved.detach() >= rho) & (size < found), size, found
                )
                (slope,) = torch.autograd.grad(moved.sum(), delta)
                step = slope / slope.norm(dim=1, keepdim=True).clamp(min=1e-12)
                delta = (delta + 2 * size[:, None] * step).detach()
    return found


if __name__ == "__main__":
    main()
