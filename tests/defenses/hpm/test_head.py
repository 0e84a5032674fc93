"""Does the head compute what the paper writes, and is it in its limits what it must be?"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext import ConfigError, InputError, ModelContractError, StateError
from torchattacks_ext.defenses import HPMHead, HPMModel, HPMSettings

from .conftest import Make, images_of


def naive(head: HPMHead, z: Tensor, hard: bool = True) -> Tensor:
    """Eq. 15-18, class by class, in float64."""
    z, settings = z.double(), head.settings
    of_all = head.of_all.double()
    logits = z @ head.fc.weight.double().T + head.fc.bias.double()
    p = nn.functional.one_hot(logits.argmax(1), head.n_classes).double()
    p = p if hard else logits.softmax(1)
    rows = []
    for k in range(head.n_classes):
        mass = p[:, k].sum()
        empty = of_all[k] if settings.empty == "global" else 0 * of_all[k]
        mean = (p[:, k : k + 1] * z).sum(0) / mass if mass > 0 else empty
        kept = of_all[k] if settings.use_global else mean
        if settings.mixer == "linear":
            mean = (
                torch.cat([kept, mean]) @ head.mixer.weight.double() + head.mixer.bias
            )
        else:
            mean = settings.share * kept + (1 - settings.share) * mean
        rows.append(mean)
    c = torch.stack(rows)
    if settings.distance == "dot":
        return z @ c.T
    far = torch.linalg.vector_norm(z[:, None] - c, dim=2)
    return -far if settings.distance == "l2" else -far.square()


CASES: list[dict[str, Any]] = [
    {},
    {"empty": "zero"},
    {"mixer": "convex", "share": 0.3},
    {"mixer": "convex", "distance": "l2sq"},
    {"distance": "dot", "empty": "zero"},
    {"use_global": False, "empty": "zero"},
    {"use_global": False, "empty": "zero", "mixer": "convex"},
]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("assign", ["ste", "hard", "soft"])
def test_the_forward_is_the_papers(
    make: Make, case: dict[str, Any], assign: str
) -> None:
    hpm = make(assign=assign, **case)
    if hpm.head.settings.mixer == "linear":
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for p in hpm.head.mixer.parameters():
                p += 0.1 * torch.randn(p.shape, generator=generator)
    for n in (1, 3, 17):
        z = hpm.forward_features(images_of(n))
        with torch.no_grad():
            truth = naive(hpm.head, z, hard=assign != "soft")
            assert torch.allclose(hpm.head(z).double(), truth, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("empty", ["global", "zero"])
def test_alone_and_without_the_data_set_it_decides_as_the_linear_head(
    make: Make, empty: Any
) -> None:
    for assign in ("ste", "hard"):
        hpm = make(mixer="convex", share=0.0, empty=empty, assign=assign)
        z = hpm.forward_features(images_of(100))
        said = hpm.head.fc(z).argmax(1)
        assert len(said.unique()) == 5  # not a victim of one answer
        found = torch.cat([hpm.head(row[None]) for row in z]).argmax(1)
        assert torch.equal(found, said)
        # in company it is another classifier
        assert not torch.equal(hpm.head(z).argmax(1), said)


def test_ste_and_hard_have_one_forward_and_two_gradients(make: Make) -> None:
    ste, hard = make(assign="ste"), make(assign="hard")
    images = images_of(16).requires_grad_()
    one, other = ste(images), hard(images)
    assert torch.equal(one, other)
    ways = [torch.autograd.grad(out[:, 0].sum(), images)[0] for out in (one, other)]
    assert all(bool(way.isfinite().all()) for way in ways)
    assert not torch.allclose(*ways)


def test_the_gradient_of_ste_is_that_of_the_sum_with_a_stopped_part(make: Make) -> None:
    hpm = make(assign="ste").double()
    z = hpm.forward_features(images_of(9).double()).detach().requires_grad_()
    (own,) = torch.autograd.grad(hpm.head(z)[:, 1].sum(), z)
    logits = hpm.head.fc_logits(z)
    soft = logits.softmax(1)
    hard = nn.functional.one_hot(logits.argmax(1), 5).double()
    p = soft + (hard - soft).detach()
    mixed = hpm.head.mixed_by(z, p)
    (theirs,) = torch.autograd.grad(hpm.head.compare(z, mixed)[:, 1].sum(), z)
    assert torch.allclose(own, theirs, rtol=1e-9, atol=1e-12)


def test_a_row_on_its_prototype_has_a_finite_gradient(make: Make) -> None:
    hpm = make(mixer="convex", share=0.0)
    image = images_of(1).requires_grad_()
    logits = hpm(image)
    assert float(logits.detach().max()) == 0.0
    (gradient,) = torch.autograd.grad(logits.sum(), image)
    assert bool(gradient.isfinite().all())


def test_none_is_the_data_set_alone_and_row_by_row(make: Make) -> None:
    hpm = make(assign="none")
    images = images_of(12)
    apart = torch.cat([hpm(row[None]) for row in images])
    assert torch.allclose(hpm(images), apart, atol=1e-6)


@pytest.mark.parametrize("training", [False, True])
def test_a_forward_writes_no_buffer_of_the_head(make: Make, training: bool) -> None:
    hpm = make().train(training)
    part = hpm if not training else hpm.head  # a trunk's BatchNorm moves in training
    before = {name: one.clone() for name, one in part.named_buffers()}
    hpm(images_of(8))
    assert before.keys() == dict(part.named_buffers()).keys()
    assert all(torch.equal(before[name], one) for name, one in part.named_buffers())


def test_prototypes_move_in_training_only_and_as_eq_14_says(make: Make) -> None:
    hpm = make(momentum=0.9)
    z, labels = torch.randn(6, hpm.head.size), torch.tensor([0, 0, 2, 2, 2, 3])
    before = hpm.head.of_all.clone()
    with pytest.raises(StateError, match="in training only"):
        hpm.eval().head.update(z, labels)
    hpm.train().head.update(z, labels)
    for k in range(5):
        rows = z[labels == k]
        moved = 0.9 * before[k] + 0.1 * rows.mean(0) if len(rows) else before[k]
        assert torch.allclose(hpm.head.of_all[k], moved, atol=1e-6)


def test_half_precision_and_autocast_are_computed_in_float32(make: Make) -> None:
    hpm = make()
    z = hpm.forward_features(images_of(8)).detach().bfloat16()
    plain = hpm.head(z)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(hpm.head(z), plain)
    assert plain.dtype == torch.float32


def test_large_batches_go_without_the_differences(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    for distance in ("l2", "l2sq"):
        hpm = make(distance=distance)
        small = hpm(images_of(8))
        monkeypatch.setattr("torchattacks_ext.defenses.hpm.prototypes.LARGE", 10)
        assert torch.allclose(hpm(images_of(8)), small, atol=1e-5)
        monkeypatch.undo()


def test_what_has_no_prototypes_says_so() -> None:
    head = HPMHead(nn.Linear(4, 3))
    with pytest.raises(StateError, match="3 of 3 classes .* fit_prototypes"):
        head(torch.zeros(2, 4))
    model = HPMModel(nn.Flatten(), head)
    with pytest.raises(InputError, match=r"classes \[2\] have no image"):
        model.fit_prototypes([(torch.rand(2, 1, 2, 2), torch.tensor([0, 1]))])
    with pytest.raises(InputError, match="one row a class"):
        head.set_prototypes(torch.zeros(2, 4))
    head.set_prototypes(torch.zeros(3, 4))
    with pytest.raises(ModelContractError, match=r"\(N, 4\); flatten"):
        head(torch.zeros(2, 4, 1))
    with pytest.raises(ConfigError, match="expected the nn.Linear"):
        HPMHead(nn.Identity())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"mixer": "linaer"}, "mixer='linaer' is not one of"),
        ({"share": 1.5}, "must lie in"),
        ({"momentum": 1.0}, "must lie in"),
        ({"use_global": False}, "say empty='zero'"),
        (
            {"use_global": False, "empty": "zero", "assign": "none"},
            "no prototypes at all",
        ),
    ],
)
def test_settings_outside_their_domains(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        HPMSettings(**settings)
