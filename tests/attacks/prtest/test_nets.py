"""Does PRTest give one answer on real nets, and does it measurements_agree with formal proofs?"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext import NormalizedModel, ProbRobustness, PRTest
from torchattacks_ext.numerics.losses import margins


def ways(net: nn.Module, images: Tensor, labels: Tensor, **options: Any) -> Any:
    """(whole, the same in other batch sizes, orders, halves, resumed)."""

    def test(batch_size: int, **more: Any) -> PRTest:
        return PRTest(net, batch_size=batch_size, **(options | more))

    n = len(images)
    order = torch.arange(n - 1, -1, -1)
    whole = test(256).measure(images, labels)
    found = {
        f"batch {size}": test(size).measure(images, labels) for size in (1, 7, 128)
    }
    found["reversed"] = test(64).measure(images[order], labels[order])
    halves = (slice(None, n // 2), slice(n // 2, None))
    found["halves"] = ProbRobustness.concat(
        [test(31).measure(images[half], labels[half]) for half in halves]
    )
    short = test(50, n_max=100).measure(images, labels)
    found["resumed"] = test(128).measure(images, labels, resume=short)
    return whole, found


@pytest.mark.parametrize(
    "kind", ["standard", pytest.param("adversarial", marks=pytest.mark.slow)]
)
def test_digits_nets_give_one_answer(
    digits: dict[str, Any], kind: str, measurements_agree: Any
) -> None:
    images, labels = digits["images"][:24], digits["labels"][:24]
    options: dict[str, Any] = dict(eps=0.3, tolerance=0.1, significance=0.05, n_max=300)
    whole, others = ways(digits[kind], images, labels, **options)
    for name, other in others.items():
        assert other.digest() == whole.digest(), name
        measurements_agree(whole, other, atol=1e-4)


@pytest.mark.parametrize("kind", ["standard", "adversarial"])
def test_digits_nets_normalised_or_not_give_one_digest(
    digits: dict[str, Any], kind: str
) -> None:
    images, labels = digits["images"][:24], digits["labels"][:24]
    mean, std = [0.3], [0.4]

    class Unscaled(nn.Module):
        """The net for inputs that were normalised before."""

        def forward(self, inputs: Tensor) -> Tensor:
            found: Tensor = digits[kind](inputs * 0.4 + 0.3)
            return found

    options: dict[str, Any] = dict(eps=0.3, tolerance=0.1, n_max=300)
    outside = PRTest(Unscaled(), **options)
    outside.set_normalization_used(mean, std)
    inside = PRTest(NormalizedModel(Unscaled(), mean, std), **options)
    one = inside.measure(images, labels)
    two = outside.measure((images - 0.3) / 0.4, labels)
    three = PRTest(digits[kind], **options).measure(images, labels)
    assert one.digest() == two.digest() == three.digest()


def nearest(
    net: nn.Module, images: Tensor, labels: Tensor, n: int
) -> tuple[Tensor, Tensor]:
    """The n right images that are nearest to the boundary, by their margin."""
    with torch.no_grad():
        logits = torch.cat([net(part) for part in images.split(256)])
    margin = margins(logits, labels)
    rows = margin.where(margin > 0, torch.inf).argsort()[:n]
    return images[rows], labels[rows]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("cifar10_resnet2b_at2", marks=pytest.mark.slow),
        pytest.param("cifar10_vit_pgd", marks=pytest.mark.slow),
    ],
)
def test_on_real_nets_rows_differ_only_where_draws_were_close(
    real: ModuleType, name: str, measurements_agree: Any
) -> None:
    net = real.model(name)
    images, labels = nearest(net, *real.test_images("cifar10", 1017), n=12)
    options: dict[str, Any] = dict(
        eps=8 / 255, tolerance=0.3, significance=0.01, n_max=1000
    )
    whole, others = ways(net, images, labels, **options)
    assert int(whole.n_close.sum()) > 0  # else nothing here was put to the test
    one = whole.sort()
    for other in others.values():
        two = other.sort()
        close = (one.n_close > 0) | (two.n_close > 0)
        for spec in one.columns():
            if spec.kind == "decision":
                same = getattr(one, spec.name) == getattr(two, spec.name)
                assert bool((same | close).all()), spec.name
        if torch.equal(one.n_failures, two.n_failures):
            assert one.digest() == two.digest()
            measurements_agree(one, two, atol=1e-4)


def test_no_failure_where_a_verifier_proved_that_there_is_none(
    real: ModuleType, verified: ModuleType
) -> None:
    """All 175 rows, at least 99 draws each (the committed benchmark draws 744)."""
    rows = real.verified_rows("robust")
    assert len(rows) == 175
    found = verified.measure(rows, tolerance=0.05, significance=0.01)
    assert sum(entry["failures"] for entry in found) == 0
    assert sum(entry["misclassified"] for entry in found) == 0
    assert sum(entry["certified"] for entry in found) == 175
    assert min(entry["worst_margin"] for entry in found) > 0
