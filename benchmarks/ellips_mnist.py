"""What is certified on MNIST by a small trained encoder, against a head without any training?

10,000 training images, the first n of the test images, L2 radii in pixel units, exact latent
radius, Lipschitz constants by the rules of models.lipschitz. Rows:

* "pca64-qda": no training at all. The 64 leading principal directions, a full Gaussian a class with
  10 % shrinkage.
* "pca128-head": those directions (128) stay, the head is trained on the certified radius.
* "linear128": the orthogonal 128 x 784 projection is trained too. The row that was asked for.
* "maxmin128": 784 x 784 orthogonal, MaxMin, 128 x 784, all trained.
* "linear128-refit": the encoder of "linear128" with a head that is fitted to its latents anew, as
  "pca64-qda" was.

Settings of the training (epochs, learning rates, width, augmentation) were chosen on test images
1,000 to 2,999, which no number here is of. Differences to the first row are paired, image by
image; their 95 % interval is conservative and exact: with b images that only the one certifies and
c that only the other does, [low(b) - high(c), high(b) - low(c)] / n of 97.5 % Clopper-Pearson ends.

Then PGDL2, DeepFool, CW (torchattacks) and MSA attack "linear128" (ellips_break.py).

Run: TAX_DATA=... python benchmarks/ellips_mnist.py [--n 1000] [--work FOLDER] [--no-attacks]
(interrupted it goes on: trainings from the folder, finished parts from the record)
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import ellips_break
import numpy as np
import record
import tax_data
import torch
from torch import Tensor, nn

from torchattacks_ext.certify import Ellips, EllipsHead
from torchattacks_ext.certify.encoders import Trained, orthogonal_mlp, train_encoder
from torchattacks_ext.numerics.rates.binomial import clopper_pearson
from torchattacks_ext.results import Certificates
from torchattacks_ext.results.base.facts import versions
from torchattacks_ext.samplers import Affine

SHAPE, EPS = (1, 28, 28), (0.0, 0.25, 0.5, 1.0)
AUGMENT = {"rotation": 10.0, "translation": 0.018, "scale": 0.1}
TRAINED: dict[str, dict[str, Any]] = {
    "pca128-head": {"widths": [], "lr": 0.0},
    "linear128": {"widths": [], "lr": 1e-4},
    "maxmin128": {"widths": [784], "lr": 3e-4},
}
COMMON = {"epochs": 24, "eps": 1.0, "temperature": 0.25, "head_lr": 3e-3}
BASE = "pca64-qda"


def training_images() -> tuple[Tensor, Tensor]:
    """The first 10,000 training images and labels."""
    file = tax_data.folder() / "mnist" / "train_first10000.npz"
    with np.load(file, allow_pickle=False) as data:
        labels = torch.from_numpy(data["labels"].astype(np.int64))
        return tax_data.pixels(data["images"]), labels


def untrained(images: Tensor, labels: Tensor) -> Ellips:
    """The row without training."""
    start = train_encoder(
        orthogonal_mlp(SHAPE, 64),
        images,
        labels,
        epochs=1,
        lr=0,
        head_lr=0,
        shrinkage=0.1,
    )
    return refitted(start.encoder, images, labels)


def refitted(encoder: nn.Module, images: Tensor, labels: Tensor) -> Ellips:
    """Full Gaussians with 10 % shrinkage on what the encoder gives."""
    with torch.no_grad():
        z = encoder(images)
    return certifier(encoder, EllipsHead.fit(z, labels, "full", 0.1))


def certifier(encoder: nn.Module, head: EllipsHead) -> Ellips:
    """The encoder with the bound that the rules give it."""
    return Ellips(encoder, head).eval()


def trained(name: str, images: Tensor, labels: Tensor, work: Path) -> Trained:
    """One training, from its checkpoint where there is one."""
    told = dict(TRAINED[name])
    encoder = orthogonal_mlp(SHAPE, 128, told.pop("widths"))
    return train_encoder(
        encoder,
        images,
        labels,
        augment=Affine(**AUGMENT),
        checkpoint=work / f"{name}.safetensors",
        progress=True,
        **COMMON,
        **told,
    )


def certified(
    model: Ellips, images: Tensor, labels: Tensor
) -> tuple[Certificates, dict[str, Any]]:
    """The table of one model, and what the record says of it."""
    started = time.perf_counter()
    found = model.certify(images, labels)
    seconds = time.perf_counter() - started
    curve = {f"{p.eps:g}": [p.value, p.low, p.high] for p in found.curve(EPS)}
    return found, {
        "tier": found.tier,
        "L": float(found.lipschitz[0]),
        "clean": found.clean_accuracy,
        "certified": curve,
        "median_radius": float(found.radius[found.clean_correct == 1].median()),
        "row_passes_an_image": found.cost.forward / len(found),
        "certify_ms_an_image": 1000 * seconds / len(found),
    }


def paired(ours: Certificates, base: Certificates) -> dict[str, list[float]]:
    """eps -> difference of certified accuracies, and its 95 % interval."""
    found = {}
    for eps in EPS:
        a, b = ours.certified(eps), base.certified(eps)
        n, only = len(a), [int((a & ~b).sum()), int((b & ~a).sum())]
        low, high = clopper_pearson(only, n, 0.975)
        ends = [float(low[0] - high[1]), float(high[0] - low[1])]
        found[f"{eps:g}"] = [(only[0] - only[1]) / n, *ends, *only]
    return found


def study(n: int, work: Path, file: Path, attacks: bool) -> dict[str, Any]:
    """Every row, written as it is finished."""
    images, labels = training_images()
    test = tax_data.test_images("mnist", n)
    data = record.read(file) if record.read(file).get("n") == n else {}
    data |= {"n": n, "common": COMMON, "augment": AUGMENT, "versions": versions()}
    data |= {"machine": record.machine() | {"threads": torch.get_num_threads()}}
    rows = data.setdefault("rows", {})
    base, rows[BASE] = certified(untrained(images, labels), *test)
    for name in TRAINED:
        begun, cpu = (work / f"{name}.safetensors").exists(), time.process_time()
        run = trained(name, images, labels, work)
        spent = {"train_cpu_seconds": time.process_time() - cpu} if not begun else {}
        kept = {k: v for k, v in rows.get(name, {}).items() if k.startswith("train")}
        model = certifier(run.encoder, run.head)
        found, told = certified(model, *test)
        rows[name] = {**told, **kept, **spent, "paired": paired(found, base)}
        if name == "linear128":
            again, told = certified(refitted(run.encoder, images, labels), *test)
            rows["linear128-refit"] = told | {"paired": paired(again, base)}
            subject = model, found
        record.write(file, data)
        show(name, rows[name])
    if attacks:
        ellips_break.study(
            *subject,
            *test,
            data.setdefault("attacks", {}),
            lambda: record.write(file, data),
        )
    return data


def show(name: str, row: dict[str, Any]) -> None:
    """One row on the terminal."""
    shares = " / ".join(f"{v[0]:.3f}" for v in row["certified"].values())
    print(
        f"{name}: {shares} at {', '.join(row['certified'])}; L = {row['L']:.7f}; "
        f"{row['row_passes_an_image']:g} row-passes an image"
    )
    for eps, (gap, low, high, b, c) in row.get("paired", {}).items():
        print(
            f"  eps {eps}: {gap:+.3f} [{low:+.4f}, {high:+.4f}]  ({b} against {c} images)"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument(
        "--work", type=Path, default=Path(tempfile.gettempdir()) / "ellips_mnist"
    )
    parser.add_argument("--no-attacks", action="store_true")
    parser.add_argument(
        "--out", type=Path, default=record.RESULTS / "ellips_mnist.json"
    )
    told = parser.parse_args()
    told.work.mkdir(parents=True, exist_ok=True)
    data = study(told.n, told.work, told.out, not told.no_attacks)
    show(BASE, data["rows"][BASE])


if __name__ == "__main__":
    main()
