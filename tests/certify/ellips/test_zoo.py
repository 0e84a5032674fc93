"""Is an Ellips an ordinary victim, and does no attack flip an answer within its radius?"""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torchattacks
from torch import Tensor, nn

from torchattacks_ext import MSA, FIMScore, PRTest, Verdict
from torchattacks_ext.certify import Ellips, EllipsHead, LipschitzBound

pytestmark = pytest.mark.filterwarnings("ignore::torchattacks_ext.ReliabilityWarning")

ATTACKS = {
    "FGSM": lambda m: torchattacks.FGSM(m, eps=0.05),
    "PGD": lambda m: torchattacks.PGD(m, eps=0.05, alpha=0.02, steps=5),
    "PGDL2": lambda m: torchattacks.PGDL2(m, eps=0.5, alpha=0.1, steps=10),
    "DeepFool": lambda m: torchattacks.DeepFool(m, steps=5),
    "CW": lambda m: torchattacks.CW(m, c=1, steps=10, lr=0.05),
    "MIFGSM": lambda m: torchattacks.MIFGSM(m, eps=0.05, steps=3),
    "APGD": lambda m: torchattacks.APGD(m, norm="L2", eps=0.5, steps=5),
    "APGDT": lambda m: torchattacks.APGDT(m, norm="L2", eps=0.5, steps=5, n_classes=4),
    "FAB": lambda m: torchattacks.FAB(m, norm="L2", eps=0.5, steps=5, n_classes=4),
    "Square": lambda m: torchattacks.Square(m, norm="Linf", eps=0.05, n_queries=30),
    "SPSA": lambda m: torchattacks.SPSA(m, eps=0.05, nb_iter=2, nb_sample=16),
    "OnePixel": lambda m: torchattacks.OnePixel(m, steps=2, popsize=4),
    "GN": lambda m: torchattacks.GN(m, std=0.1),
    "EADL1": lambda m: torchattacks.EADL1(m, max_iterations=10, binary_search_steps=1),
    "Pixle": lambda m: torchattacks.Pixle(m, restarts=2, max_iterations=2),
}


def flips(
    certificates: Any, model: Any, images: Tensor, found: Tensor
) -> tuple[int, int]:
    """(answers that changed within the certified radius, answers that changed at all)."""
    moved = (found.double() - images.double()).flatten(1).norm(dim=1)
    with torch.no_grad():
        other = model(found).argmax(1) != certificates.label
    inside = moved < certificates.radius
    return int((other & inside).sum()), int(other.sum())


SLOW = {"CW", "SPSA"}  # optimisers and laws that import half of torch, for seconds


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in ATTACKS]
)
def test_attacks_of_the_zoo_run_and_flip_nothing_within_a_radius(
    case: Any, name: str
) -> None:
    model = case.certifier(None)
    found = model.certify(case.images, case.labels)
    attack = ATTACKS[name](model)
    assert not model.training
    images = attack(case.images, case.labels)
    assert images.shape == case.images.shape and images.dtype == case.images.dtype
    model.eval()
    assert flips(found, model, case.images, images)[0] == 0


def test_strong_attacks_come_close_to_the_radius(case: Any) -> None:
    """Or the test above says nothing: the head itself, on its latents, is attacked to its edge."""
    head = case.head
    with torch.no_grad():
        z = case.encoder(case.images).double()
    radius, label = head.radius(z), head(z).argmax(1)
    step = torch.zeros_like(z)
    best = torch.full_like(radius, torch.inf)
    for _ in range(60):
        step.requires_grad_()
        logits = head(z + step)
        own = logits.gather(1, label.unsqueeze(1)).squeeze(1)
        rest = logits.scatter(1, label.unsqueeze(1), -torch.inf).amax(1)
        (slope,) = torch.autograd.grad((own - rest).sum(), step)
        step = step.detach()
        size = step.norm(dim=1)
        best = torch.where((own < rest) & (size < best), size, best)
        # one Newton step to the edge of the linear model, from the foot of its normal
        offset = (own - rest).detach() - (slope * step).sum(1)
        step = -(offset / slope.square().sum(1) * 1.0005).unsqueeze(1) * slope
    assert bool((best >= radius).all())
    assert float((best / radius)[best.isfinite()].median()) < 1.01


def test_the_probes_of_this_package_run_on_it(case: Any) -> None:
    model = case.certifier(None)
    images, labels = case.images[:12], case.labels[:12]
    found = model.certify(images, labels)
    test = PRTest(
        model, eps=0.02, norm="L2", n_max=2000, tolerance=0.05, significance=0.05
    )
    verdicts = test.measure(images, labels)
    sure = (found.clean_correct == 1) & (found.radius > 0.02)
    assert bool(sure.any())
    assert bool((verdicts.verdict[sure] == int(Verdict.ROBUST)).all())
    score = FIMScore(model, method="gram").measure(images)
    assert bool(score.log_lam.isfinite().all())
    assert torch.equal(score.prediction, found.prediction)


@pytest.mark.parametrize(
    "version", ["quick", pytest.param("standard", marks=pytest.mark.slow)]
)
def test_msa_flips_nothing_within_the_smallest_radius(case: Any, version: Any) -> None:
    model = case.certifier(None)
    images, labels = case.images[:4], case.labels[:4]
    found = model.certify(images, labels)
    right = found.clean_correct == 1
    eps = float(found.radius[right].min()) * (1 - 1e-6)
    surrogates = {"copy": case.certifier(None)}
    attack = MSA(model, surrogates, eps=eps, norm="L2", version=version)
    left = attack.measure(images, labels)
    assert bool((left.verdict[right] != int(Verdict.NOT_ROBUST)).all())


def test_attacks_that_mask_by_zeros_found_nothing() -> None:
    """Logits below 0 made every other class look as good as a masked one to CW of torchattacks."""
    means = torch.tensor([[0.2, 0.5], [0.8, 0.5]], dtype=torch.float64)
    law = 0.01 * torch.eye(2, dtype=torch.float64)
    head = EllipsHead.from_parameters(means, law, covariance="shared")
    model = Ellips(nn.Flatten(), head, LipschitzBound(1.0)).eval()
    images = torch.tensor([[0.3, 0.5], [0.7, 0.4]]).reshape(2, 1, 1, 2)
    labels = model(images).argmax(1)
    assert bool((model(images) >= 0).all())
    moved = torchattacks.CW(model, c=10, steps=100, lr=0.02)(images, labels)
    assert bool((model(moved).argmax(1) != labels).all())


def test_rounding_to_float32_hides_no_answer() -> None:
    from torchattacks_ext.certify.ellips.certifier import _same_answer as same

    generator = torch.Generator().manual_seed(0)
    close = 1000 + 1e-6 * torch.rand(500, 6, generator=generator, dtype=torch.float64)
    assert torch.equal(same(close, torch.float32).argmax(1), close.argmax(1))
    assert not torch.equal(close.float().argmax(1), close.argmax(1))
