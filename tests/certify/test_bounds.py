"""What may enter a certificate is decided by kind, not by care."""

import math

import pytest

from torchattacks_ext.certify.bounds import Estimate, LipschitzBound, only_bounds
from torchattacks_ext.errors import ConfigError, StatusError


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
