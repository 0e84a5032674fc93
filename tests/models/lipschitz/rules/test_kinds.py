"""Is every rule above the truth, and close to it? Random layers against their dense Jacobian.

The layers are drawn from fixed seeds, so that nothing here fails by luck.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from torchattacks_ext.models.lipschitz import bound_net

EXACT, LOOSE = 1 + 1e-6, float("inf")
KINDS = {
    # name: (most that the median, and any, bound / truth may be)
    "Linear": (EXACT, EXACT),
    "Conv1d": (EXACT, 1.2),
    "Conv2d": (1.01, LOOSE),
    "Conv2d, larger, stride 1": (1.1, 1.2),
    "Conv2d, larger, stride 2": (1.1, 1.2),
    "ConvTranspose1d": (EXACT, 1.2),
    "ConvTranspose2d": (1.01, LOOSE),
    "BatchNorm": (EXACT, EXACT),
    "folded BatchNorm": (EXACT, LOOSE),
    "spectral_norm": (EXACT, EXACT),
    "orthogonal": (EXACT, EXACT),
    "AvgPool": (EXACT, EXACT),
    "MaxPool": (1.01, LOOSE),
    "LPPool": (1.1, 1.5),
    "adaptive pools": (1.01, LOOSE),
    "resize": (EXACT, EXACT),
    "padding": (EXACT, EXACT),
    "normalisation": (EXACT, EXACT),
    "activations": (1.01, LOOSE),
}
SLACK = 1 - 1e-12
"""Rounding of the truth itself, which is computed without care."""


def test_every_kind_is_tested(cases: ModuleType) -> None:
    assert set(KINDS) == set(cases.KINDS)


def ratios(cases: ModuleType, name: str, seeds: range) -> np.ndarray:
    """Bound / truth of random layers; a bound below the truth fails on the spot."""
    found = []
    for seed in seeds:
        rng = np.random.default_rng([seed, len(name)])
        module, shape = cases.KINDS[name](rng)
        bound, truth = bound_net(module, shape), cases.truth(name, module, shape, rng)
        assert bound.value >= truth * SLACK, (name, seed, module, shape)
        assert bound.scope == "global"
        if truth > 0:
            found.append(bound.value / truth)
    return np.array(found)


@pytest.mark.parametrize("name", KINDS)
def test_no_layer_is_bounded_too_low_and_most_are_exact(
    cases: ModuleType, name: str
) -> None:
    median, most = KINDS[name]
    found = ratios(cases, name, range(4 if "larger" in name else 12))
    assert np.median(found) <= median and found.max() <= most


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_none_of_200_layers_is_bounded_too_low(cases: ModuleType, name: str) -> None:
    median, most = KINDS[name]
    found = ratios(cases, name, range(1000, 1040 if "larger" in name else 1200))
    assert np.median(found) <= median and found.max() <= most
