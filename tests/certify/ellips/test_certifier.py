"""Does `certify` say what its parts say, on whatever data, at one forward row-pass an image?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from torchattacks_ext import Status
from torchattacks_ext.certify import Ellips, EllipsHead, Estimate, LipschitzBound
from torchattacks_ext.certify.ellips.reach import rounding_estimate
from torchattacks_ext.errors import (
    InputError,
    ModelContractError,
    ReliabilityWarning,
    StateError,
)
from torchattacks_ext.models.normalised import NormalizedModel
from torchattacks_ext.results import Certificates

QUIET = pytest.mark.filterwarnings("ignore::torchattacks_ext.ReliabilityWarning")


# ---------------------------------------------------------------------- truth
def test_radius_is_the_latent_radius_over_the_bound(case: Any) -> None:
    found = case.certifier(LipschitzBound.assume(2.5)).certify(case.images, case.labels)
    with torch.no_grad():
        z = case.encoder(case.images)
    rho = case.head.radius(z)
    assert torch.equal(found.latent_radius, rho)
    assert found.radius.tolist() == pytest.approx((rho / 2.5).tolist(), rel=2e-9)
    assert bool((found.radius <= rho / 2.5).all())
    assert torch.equal(found.prediction, case.head(z).argmax(1))
    assert torch.equal(found.clean_correct == 1, found.label == case.labels)
    assert found.tier == "conditional: L assumed"
    assert found.settings["L"] == 2.5 and found.lipschitz.tolist() == [2.5] * 40


def test_a_half_line_is_certified_to_its_threshold() -> None:
    """One pixel, classes at 0 and 1: the answer changes at 1/2, exactly."""
    head = EllipsHead.from_parameters([[0.0], [1.0]], 0.3)
    model = Ellips(nn.Flatten(), head).eval()
    images = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0]).reshape(5, 1, 1, 1)
    found = model.certify(images)
    truth = (images.flatten() - 0.5).abs().double()
    assert found.radius.tolist() == pytest.approx(truth.tolist(), rel=3e-9)
    assert bool((found.radius <= truth).all())
    assert found.label.tolist() == [0, 0, -1, 1, 1] and found.tier == "certified"
    assert (
        found.reference.tolist() == [-1] * 5
        and found.clean_correct.tolist() == [-1] * 5
    )


def test_normalisation_is_part_of_the_map() -> None:
    """(x - .5) / .25 before the encoder: L is 4, wherever it stands."""
    head = EllipsHead.from_parameters([[-1.0], [1.0]], 0.3)
    images = torch.tensor([[0.3], [0.9]])
    inside = Ellips(nn.Flatten(), head, normalization=(0.5, 0.25)).eval()
    around = Ellips(NormalizedModel(nn.Flatten(), 0.5, 0.25), head).eval()
    for model in (inside, around):
        found = model.certify(images)
        assert found.radius.tolist() == pytest.approx([0.2, 0.4], rel=1e-6)
        assert found.settings["L"] == pytest.approx(4.0)
        assert found.label.tolist() == [0, 1]
        assert model(images).argmax(1).tolist() == [0, 1]


def test_the_bound_is_found_by_the_rules_where_none_is_given(case: Any) -> None:
    found = case.certifier(None).certify(case.images, case.labels)
    bound = LipschitzBound.of(case.encoder, (1, 4, 4))
    assert found.lipschitz.tolist() == [bound.value] * 40
    assert found.tier == "certified" and found.settings["scope"] == "global"


def test_a_bound_around_each_image_reaches_farther(case: Any) -> None:
    far = case.certifier("ball").certify(case.images, case.labels)
    near = case.certifier(None).certify(case.images, case.labels)
    assert bool((far.radius >= near.radius * (1 - 1e-6)).all())
    assert float(far.radius.median()) > float(near.radius.median())
    assert far.settings["scope"] == far.settings["L_kind"] == "ball"
    assert torch.allclose(far.radius * far.lipschitz, far.latent_radius, rtol=1e-6)
    assert far.tier == "certified"


def test_encoder_slack_is_taken_off_twice(case: Any) -> None:
    plain = case.certifier().certify(case.images)
    slack = 0.1 * float(plain.latent_radius.median())
    less = case.certifier(encoder_slack=slack).certify(case.images)
    left = (plain.latent_radius - 2 * slack).clamp(min=0) / 2
    assert less.radius.tolist() == pytest.approx(left.tolist(), rel=2e-9)
    assert torch.equal(less.label < 0, left <= 0)
    assert less.settings["encoder_slack"] == slack
    estimate = rounding_estimate(case.encoder, case.images)
    assert isinstance(estimate, Estimate) and 0 < estimate.value < 1e-4


def test_a_constant_encoder_answers_everything_alike() -> None:
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    nn.init.zeros_(encoder[1].weight)
    head = EllipsHead.from_parameters([[0.0, 0.0], [9.0, 0.0]], 1.0)
    found = (
        Ellips(encoder, head, LipschitzBound(0.0))
        .eval()
        .certify(torch.rand(3, 1, 2, 2))
    )
    assert found.radius.tolist() == [torch.inf] * 3 and found.label.tolist() == [0] * 3
    assert Certificates.from_json(found.to_json()).radius.tolist() == [torch.inf] * 3


# ---------------------------------------------------------------------- data and cost
def test_one_forward_row_pass_an_image(
    case: Any, counted: Callable[[nn.Module], Any]
) -> None:
    encoder = counted(case.encoder)
    model = Ellips(encoder, case.head, LipschitzBound.assume(2.0)).eval()
    found = model.certify(case.images, case.labels, batch_size=16)
    assert encoder.rows == 40 and found.cost.forward == 40 and found.cost.backward == 0
    assert [shape[0] for shape in encoder.seen] == [16, 16, 8]


@QUIET
def test_tensors_loaders_and_batches_say_the_same(case: Any) -> None:
    model = case.certifier()
    whole = model.certify(case.images, case.labels)
    data = TensorDataset(case.images, case.labels)
    dicts = [
        {"img": case.images[i : i + 8], "label": case.labels[i : i + 8]}
        for i in range(0, 40, 8)
    ]
    for other in (data, DataLoader(data, batch_size=7), dicts):
        found = model.certify(other)
        assert found.digest() == whole.digest()
        assert torch.allclose(found.radius, whole.radius, rtol=1e-4)
    for size in (1, 7, 128):
        assert (
            model.certify(case.images, case.labels, batch_size=size).digest()
            == whole.digest()
        )
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    mixed = model.certify(case.images[order], case.labels[order])
    assert mixed.digest() == whole.digest()
    halves = [model.certify(case.images[i::2], case.labels[i::2]) for i in (0, 1)]
    assert Certificates.concat(halves).digest() == whole.digest()


def test_ids_groups_and_images_are_the_callers(case: Any) -> None:
    model, before = case.certifier(), case.images.clone()
    names = [f"image {i}" for i in range(40)]
    one = model.certify(case.images, case.labels, ids=names)
    two = model.certify(case.images, case.labels, ids=names)
    assert torch.equal(one.ids, two.ids) and len(set(one.ids.tolist())) == 40
    assert torch.equal(case.images, before)
    groups = ["left", "right"] * 20
    batch = [{"image": case.images, "labels": case.labels, "groups": groups}]
    found = model.certify(batch)
    assert found.groups == tuple(groups)
    assert set(found.summary()["groups"]) == {"left", "right"}


def test_no_images_give_an_empty_table(case: Any) -> None:
    found = case.certifier().certify(case.images[:0], case.labels[:0])
    assert len(found) == 0 and found.summary()["n"] == 0


def test_a_double_encoder_stays_double(case: Any) -> None:
    single = case.certifier().certify(case.images, case.labels)
    case.encoder.double()
    double = case.certifier().certify(case.images.double(), case.labels)
    assert torch.allclose(single.radius, double.radius, rtol=1e-4)
    assert not torch.equal(single.latent_radius, double.latent_radius)


def test_autocast_is_left_outside(case: Any) -> None:
    model = case.certifier()
    whole = model.certify(case.images, case.labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = model.certify(case.images, case.labels)
    assert torch.equal(whole.radius, inside.radius)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_grad_modes_of_the_caller_change_nothing(case: Any, mode: Any) -> None:
    model = case.certifier()
    whole = model.certify(case.images, case.labels)
    with mode():
        inside = model.certify(case.images, case.labels)
    assert torch.equal(whole.radius, inside.radius)


def test_the_model_is_given_back(case: Any) -> None:
    """Grads, flags, buffers, random state; and it counts no more than it did."""
    model = case.certifier()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    kept = {k: v.clone() for k, v in model.state_dict().items()}
    state = torch.random.get_rng_state()
    model.certify(case.images, case.labels)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(
        p.requires_grad and bool((p.grad == 1).all()) for p in model.parameters()
    )
    assert all(torch.equal(v, kept[k]) for k, v in model.state_dict().items())
    assert not any(m.training for m in model.modules())


# ---------------------------------------------------------------------- what goes wrong
class Odd(nn.Module):
    """Latents that are NaN for dark images, or an error."""

    def __init__(self, raises: bool) -> None:
        super().__init__()
        self.raises = raises

    def forward(self, images: Tensor) -> Tensor:
        dark = images.flatten(1).mean(1, keepdim=True) < 0.1
        if self.raises and bool(dark.any()):
            raise RuntimeError("too dark")
        return images.flatten(1)[:, :1].masked_fill(dark, torch.nan)


def test_latents_without_numbers_abstain_and_are_flagged() -> None:
    head = EllipsHead.from_parameters([[0.0], [1.0]], 1.0)
    model = Ellips(Odd(False), head, LipschitzBound.assume(1.0)).eval()
    images = torch.tensor([[0.9, 0.9], [0.0, 0.0]])
    with pytest.warns(ReliabilityWarning, match="non_finite"):
        found = model.certify(images, [1, 0])
    assert found.status.tolist() == [int(Status.OK), int(Status.NON_FINITE)]
    assert found.label.tolist() == [1, -1] and found.radius[1] == 0
    assert found.abstain.tolist() == [0, 1] and found.clean_correct.tolist() == [1, 0]
    with pytest.raises(ModelContractError, match="NaN or infinite latents"):
        model.certify(images[1:], [0])


def test_a_batch_on_which_the_encoder_raises_is_failed_and_the_next_goes_on() -> None:
    head = EllipsHead.from_parameters([[0.0], [1.0]], 1.0)
    model = Ellips(Odd(True), head, LipschitzBound.assume(1.0)).eval()
    images = torch.tensor([[0.9, 0.9], [0.0, 0.0], [0.8, 0.8]])
    with pytest.warns(ReliabilityWarning, match="too dark"):
        found = model.certify(images, [1, 0, 1], batch_size=1)
    assert found.status.tolist() == [0, int(Status.FAILED), 0]
    assert found.abstain.tolist() == [0, -1, 0] and found.radius[1] == 0
    share = found.certified_accuracy(0.1)
    assert share.value == pytest.approx(2 / 3) and share.high == 1.0
    with pytest.raises(ModelContractError, match="too dark"):
        model.certify(images[1:2], [0])


def test_an_encoder_of_another_size_is_named(case: Any) -> None:
    model = Ellips(nn.Flatten(), case.head, LipschitzBound(1.0)).eval()
    with pytest.raises(ModelContractError, match="16 numbers.*fitted on 4"):
        model.certify(case.images)
    tuples = Ellips(TupleEncoder(), case.head, LipschitzBound(1.0)).eval()
    with pytest.raises(ModelContractError, match="the encoder gave tuple"):
        tuples.certify(case.images)


class TupleEncoder(nn.Module):
    def forward(self, images: Tensor) -> Any:
        return images, images


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: x * 255, "0..255"),
        (lambda x: x * 4 - 2, "looks normalised"),
        (lambda x: (x * 255).to(torch.uint8), "uint8"),
        (lambda x: x.clone().fill_(torch.nan), "NaN"),
    ],
)
def test_images_are_checked_at_the_door(case: Any, change: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        case.certifier().certify(change(case.images))


def test_labels_and_shapes_are_checked_at_the_door(case: Any) -> None:
    model = case.certifier()
    with pytest.raises(InputError, match="4 classes"):
        model.certify(case.images, case.labels + 1)
    with pytest.raises(InputError, match="expected \\(40,\\)"):
        model.certify(case.images, case.labels[:9])
    with pytest.raises(InputError, match="one shape"):
        model.certify([case.images[:3], case.images[:3, :, :, :2]])
    loader = DataLoader(TensorDataset(case.images, case.labels))
    with pytest.raises(InputError, match="labels= belongs"):
        model.certify(loader, case.labels)


def test_another_thread_waits_its_turn(case: Any) -> None:
    from threading import Thread

    from torchattacks_ext.models.session import session

    model, said = case.certifier(), list[str]()

    def other() -> None:
        try:
            model.certify(case.images)
        except StateError as error:
            said.append(str(error))

    with session(model):
        thread = Thread(target=other)
        thread.start()
        thread.join()
    assert "another thread" in said[0]
