"""What may enter a certificate is decided by kind, not by care."""

import math

import pytest
import torch

from torchattacks_ext.certify.bounds import Estimate, LipschitzBound, only_bounds
from torchattacks_ext.errors import ConfigError, ModelContractError, StatusError
from torchattacks_ext.models.normalised import NormalizedModel


@pytest.mark.parametrize(
    "wrong", [Estimate(1.0, "CLEVER"), 1.0, None, LipschitzBound(1.0, "point", 0.0)]
)
def test_what_is_no_bound_on_a_neighbourhood_is_refused(wrong):
    with pytest.raises(StatusError):
        only_bounds(wrong)


@pytest.mark.parametrize(
    "given",
    [
        {"value": math.inf},
        {"value": math.nan},
        {"value": -1.0},
        {"value": 1.0, "scope": "local"},
        {"value": 1.0, "scope": "ball"},
        {"value": 1.0, "scope": "ball", "radius": 0.0},
        {"value": 1.0, "scope": "global", "radius": 1.0},
        {"value": 1.0, "scope": "point"},
    ],
)
def test_a_bound_outside_its_domain_is_refused(given):
    with pytest.raises(ConfigError):
        LipschitzBound(**given)


def test_an_assumed_number_is_called_conditional():
    assert LipschitzBound.assume(1).status == "conditional: L assumed"
    assert only_bounds(LipschitzBound.assume(1)).kind == "assumed"
    assert only_bounds(LipschitzBound(1.0, "ball", 0.5)).status == "certified"


def test_the_bound_of_an_encoder_is_that_of_its_layers_and_of_the_preprocessing():
    layer = torch.nn.Linear(4, 3).double()
    truth = float(torch.linalg.matrix_norm(layer.weight.detach(), 2))
    encoder = torch.nn.Sequential(torch.nn.Flatten(), layer, torch.nn.Tanh()).eval()
    plain = LipschitzBound.of(encoder, (1, 2, 2))
    assert truth * (1 - 1e-12) <= plain.value <= truth * (1 + 1e-9)
    assert (plain.scope, plain.radius, plain.kind) == ("global", math.inf, "product")
    scaled = LipschitzBound.of(encoder, (1, 2, 2), normalization=([0.5], [0.2]))
    inside = LipschitzBound.of(NormalizedModel(encoder, 0.5, 0.2), (1, 2, 2))
    assert scaled.value == pytest.approx(5 * truth) and inside.value == pytest.approx(
        5 * truth
    )
    assert only_bounds(scaled).status == "certified"


def test_a_chain_of_relus_gets_less_than_the_product():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = torch.nn.Linear(20, 20), torch.nn.ReLU(), torch.nn.Linear(20, 20)
        net = torch.nn.Sequential(*layers).double().eval()
    first, second = net[0].weight.detach(), net[2].weight.detach()
    norm = torch.linalg.matrix_norm
    wanted = float(norm(second @ first, 2) + norm(second, 2) * norm(first, 2)) / 2
    found = LipschitzBound.of(net, (20,))
    assert wanted <= found.value <= wanted * (1 + 1e-7)
    assert "neighbouring" in found.source


def test_an_encoder_without_a_bound_has_none():
    attention = torch.nn.TransformerEncoderLayer(4, 2, batch_first=True)
    for encoder in (
        attention.eval(),
        torch.nn.Linear(4, 4),
        torch.nn.Linear(4, 4).half().eval(),
    ):
        with pytest.raises(ModelContractError):
            LipschitzBound.of(encoder, (3, 4))
    with pytest.raises(ConfigError, match="mean"):
        LipschitzBound.of(torch.nn.Flatten().eval(), (4,), normalization=(0.5, 0.0))
