"""What does one model give to the study of FIMScore? Scores, minimum radii, robust accuracy.

RDI (arXiv:2504.18556): (D - A) / max(D, A) of the logits, A the mean distance to the centre of
their predicted class, D the mean distance of the centres to their mean. GREAT (arXiv:2304.09875):
sqrt(pi / 2) times the mean of max(p_y - max_k p_k, 0), here on test images instead of generated
ones.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import tax_data
import torch
import torchattacks
from torch import Tensor, nn

from torchattacks_ext import FIMScore, ReliabilityWarning
from torchattacks_ext.attacks.msa.msa import MSA
from torchattacks_ext.engines.judge.ledger import AttackSpec

N_IMAGES, N_OTHERS = 1017, 500
"""Of each data set; the last N_OTHERS are for the temperature, and scored by nobody."""

EPS = {"cifar10": 2 / 255, "mnist": 0.2}
"""Linf radius of the robust accuracy: most nets are neither at 0 nor at 1 (at .1, 8 of 10 MNIST
nets are above .84)."""

PLAN = (
    AttackSpec("apgd", loss="ce", steps=100),
    AttackSpec("apgd-t", steps=100, targets=9),
)

STEPS = {"fab": 30, "deepfool": 50}


def scores(net: nn.Module, dataset: str, n: int) -> dict[str, Any]:
    """Columns of the first n images, plain and calibrated, and the scores that need no gradient."""
    images, labels = tax_data.test_images(dataset, N_IMAGES)
    first = N_IMAGES - N_OTHERS
    ids, others = list(range(n)), list(range(first, N_IMAGES))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        found = FIMScore(net, norm="L2", kl=False).measure(
            images[:n], labels[:n], ids=ids
        )
        score = FIMScore(net, norm="L2", temperature="fit", kl=False)
        score.fit_temperature(images[first:], labels[first:], ids=others)
        calibrated = score.measure(images[:n], labels[:n], ids=ids)
    return {
        "n": n,
        "temperature": score.temperature_value,
        "log_lam": found.log_lam.tolist(),
        "calibrated": calibrated.log_lam.tolist(),
        "log_rest": found.log_rest.tolist(),
        "margin_radius": found.margin_radius.tolist(),
        "correct": (found.clean_correct == 1).tolist(),
        **forward_scores(net, images[:first], labels[:first]),
    }


def forward_scores(net: nn.Module, images: Tensor, labels: Tensor) -> dict[str, float]:
    """Clean accuracy, mean p_max, RDI and GREAT; one forward pass an image."""
    with torch.no_grad():
        logits = torch.cat([net(part) for part in images.split(100)]).double()
    p, rows = logits.softmax(1), torch.arange(len(labels))
    true = p[rows, labels]
    p_max = p.max(1).values.mean().item()
    p[rows, labels] = 0.0
    lead = (true - p.max(1).values).clamp(min=0)
    return {
        "n_forward": len(labels),
        "clean_accuracy": float((logits.argmax(1) == labels).double().mean()),
        "mean_p_max": p_max,
        "rdi": rdi(logits),
        "great": math.sqrt(math.pi / 2) * float(lead.mean()),
    }


def rdi(logits: Tensor) -> float:
    """(D - A) / max(D, A) of (N, K) logits; classes that nobody is given to have no centre."""
    answers = logits.argmax(1)
    groups = [logits[answers == k] for k in answers.unique()]
    centres = torch.stack([group.mean(0) for group in groups])
    within = torch.cat([(g - c).norm(dim=1) for g, c in zip(groups, centres)]).mean()
    between = (centres - centres.mean(0)).norm(dim=1).mean()
    return float((between - within) / torch.maximum(between, within))


def radius(net: nn.Module, dataset: str, n: int) -> dict[str, Any]:
    """The smallest L2 perturbation that was found for each image; inf for none, nan for wrong."""
    images, labels = tax_data.test_images(dataset, n)
    attacks = {
        "fab": torchattacks.FAB(net, norm="L2", eps=1e3, steps=STEPS["fab"]),
        "deepfool": torchattacks.DeepFool(net, steps=STEPS["deepfool"]),
    }
    rows = torch.nonzero(answers(net, images) == labels).flatten()
    found = {}
    for name, attack in attacks.items():
        found[name] = torch.full((n,), float("nan"), dtype=torch.float64)
        for part in rows.split(50):
            changed = attack(images[part], labels[part]).detach()
            far = (changed - images[part]).double().flatten(1).norm(dim=1)
            inside = (changed >= 0).flatten(1).all(1) & (changed <= 1).flatten(1).all(1)
            broken = (answers(net, changed) != labels[part]) & inside
            far[~broken] = math.inf
            found[name][part] = far
    least = torch.minimum(found["fab"], found["deepfool"])
    return {"n": n, "radius": least.tolist()} | {
        f"broken_by_{name}": int(values.isfinite().sum())
        for name, values in found.items()
    }


def answers(net: nn.Module, images: Tensor) -> Tensor:
    """The class of each image."""
    with torch.no_grad():
        return net(images).argmax(1)


def robust(net: nn.Module, dataset: str, n: int) -> dict[str, Any]:
    """Accuracy after the plan on the first n images."""
    images, labels = tax_data.test_images(dataset, n)
    attack = MSA(net, eps=EPS[dataset], version="custom", plan=PLAN, batch_size=200)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        found = attack.measure(images, labels, ids=list(range(n)))
    return {
        "n": n,
        "robust_accuracy": found.robust_accuracy,
        "forward": found.cost.forward,
        "backward": found.cost.backward,
    }
