"""Can a wrong certificate be made by a wrong use? Each way that was thought of is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from torchattacks_ext.certify import Ellips, EllipsHead, Estimate, LipschitzBound
from torchattacks_ext.certify.ellips.reach import Reach
from torchattacks_ext.errors import (
    ConfigError,
    InputError,
    ModelContractError,
    StateError,
    StatusError,
)
from torchattacks_ext.results import Certificates

CLEVER = Estimate(2.0, source="CLEVER")


@pytest.mark.parametrize(
    ("lipschitz", "words"),
    [
        (CLEVER, "CLEVER.*not an upper bound"),
        (LipschitzBound(2.0, "point", 0.0), "at one point"),
        (LipschitzBound(2.0, "ball", 0.1), "one image.*lipschitz='ball'"),
        (2.0, "assume"),
        ("global", "assume"),
    ],
)
def test_what_is_no_bound_is_refused(case: Any, lipschitz: Any, words: str) -> None:
    with pytest.raises(StatusError, match=words):
        case.certifier(lipschitz)
    model = case.certifier()
    with pytest.raises(StatusError, match=words):
        model.lipschitz = lipschitz
    assert model.lipschitz == LipschitzBound.assume(2.0)


def test_an_estimate_gives_a_reproduction_and_never_a_certificate(case: Any) -> None:
    model = case.certifier(CLEVER, paper_mode=True)
    found = model.certify(case.images, case.labels)
    assert found.tier == "reproduction, not a certificate"
    assert (
        found.settings["method"] == "paper" and found.settings["L_kind"] == "estimate"
    )
    rho = case.head.radius(case.encoder(case.images), "paper")
    assert found.radius.tolist() == pytest.approx((rho / 2).tolist(), rel=2e-9)
    # and it does not become one by way of a table, a file or a switch
    whole = case.certifier().certify(case.images, case.labels, ids=range(100, 140))
    for parts in ([found, whole], [whole, found]):
        with pytest.raises(StatusError, match="cannot stand in one table"):
            Certificates.concat(parts)
    assert Certificates.from_json(found.to_json()).tier == found.tier
    model.paper_mode = False
    assert model.certify(case.images, case.labels).tier == "not a certificate"


def test_a_bound_in_paper_mode_is_a_reproduction_too(case: Any) -> None:
    model = case.certifier(LipschitzBound.assume(2.0), paper_mode=True, method="exact")
    found = model.certify(case.images)
    assert found.tier == "reproduction, not a certificate"
    assert found.settings["method"] == "exact"


def test_an_assumed_bound_says_so_and_is_not_mixed_with_a_certified_one(
    case: Any,
) -> None:
    one = case.certifier().certify(case.images, case.labels)
    two = case.certifier(None).certify(case.images, case.labels, ids=range(100, 140))
    assert (one.tier, two.tier) == ("conditional: L assumed", "certified")
    with pytest.raises(StatusError, match="cannot stand in one table"):
        Certificates.concat([one, two])


def test_training_mode_is_refused_wherever_it_is(case: Any) -> None:
    model = case.certifier()
    for part in (model, model.encoder, model.encoder[1]):
        part.train()
        with pytest.raises(StateError, match="call .eval\\(\\) first"):
            model.certify(case.images)
        with pytest.raises(StateError, match="call .eval\\(\\) first"):
            model.bound((1, 4, 4))
        assert part.training  # nothing was switched
        model.eval()
    assert len(model.certify(case.images)) == 40


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_an_encoder_in_half_precision_is_refused(case: Any, dtype: torch.dtype) -> None:
    model = case.certifier().to(dtype)
    with pytest.raises(ModelContractError, match="no certificate covers"):
        model.certify(case.images)


def test_short_latents_of_a_wide_encoder_are_refused(case: Any) -> None:
    class Short(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = case.encoder

        def forward(self, images: Any) -> Any:
            return self.inner(images).half()

    model = Ellips(Short(), case.head, LipschitzBound.assume(2.0)).eval()
    with pytest.raises(InputError, match="float32 or float64"):
        model.certify(case.images)


def test_a_bound_of_other_weights_is_refused(case: Any) -> None:
    model = case.certifier(LipschitzBound.of(case.encoder, (1, 4, 4)))
    first = model.certify(case.images)
    with torch.no_grad():
        case.encoder[1].weight.data.mul_(3)
    with pytest.raises(StateError, match="the encoder changed.*bound it again"):
        model.certify(case.images)
    model.lipschitz = LipschitzBound.of(case.encoder, (1, 4, 4))
    second = model.certify(case.images)
    assert second.settings["L"] == pytest.approx(3 * first.settings["L"], rel=1e-5)


def test_a_bound_by_the_rules_is_found_again_for_other_weights_or_layers(
    case: Any,
) -> None:
    model = case.certifier(None)
    first = model.bound((1, 4, 4))
    assert model.bound((1, 4, 4)) is first
    with torch.no_grad():
        case.encoder[1].weight.data.mul_(3)
    second = model.bound((1, 4, 4))
    assert second.known.value == pytest.approx(3 * first.known.value, rel=1e-6)
    case.encoder[2] = nn.GELU().eval()
    third = model.bound((1, 4, 4))
    assert third.known.value > 1.1 * second.known.value


def test_a_layer_without_a_rule_is_named(case: Any) -> None:
    encoder = nn.Sequential(case.encoder, nn.LayerNorm(4)).eval()
    model = Ellips(encoder, case.head).eval()
    with pytest.raises(ModelContractError, match="LayerNorm"):
        model.certify(case.images)


def test_a_head_of_another_kind_is_refused(case: Any) -> None:
    with pytest.raises(ConfigError, match="expected an EllipsHead"):
        Ellips(case.encoder, nn.Linear(4, 3))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="method='best'"):
        case.certifier(method="best")
    with pytest.raises(ConfigError, match="encoder_slack"):
        case.certifier(encoder_slack=-1.0)


def test_ties_have_no_radius_and_no_label() -> None:
    head = EllipsHead.from_parameters([[0.0], [1.0], [1.0]], 1.0)
    model = Ellips(nn.Flatten(), head, LipschitzBound(1.0)).eval()
    found = model.certify(torch.tensor([[0.5], [0.9], [0.1]]), [0, 1, 0], ids=[1, 2, 3])
    assert found.label.tolist() == [-1, -1, 0] and found.radius[:2].tolist() == [0, 0]
    assert found.clean_correct.tolist() == [0, 0, 1]


def test_a_ball_cuts_the_radius_of_its_image() -> None:
    reach = Reach(LipschitzBound(2.0, "ball", 0.1, kind="ball"))
    rho = torch.tensor([1.0], dtype=torch.float64)
    assert reach.pixels(torch.zeros(1, 2), rho)[0].tolist() == [0.1]
    assert reach.pixels(torch.zeros(1, 2), 0.1 * rho)[0].item() == pytest.approx(0.05)
    with pytest.raises(StatusError, match="nothing about 2"):
        reach.pixels(torch.zeros(2, 2), rho.expand(2))
