"""Is a bound put into the band of the table, and never into more than that?"""

from __future__ import annotations

import numpy as np
import pytest

from torchattacks_ext.errors import ConfigError
from torchattacks_ext.numerics.rates import sil
from torchattacks_ext.numerics.rates.binomial import upper_bound
from torchattacks_ext.numerics.rates.sil import (
    SIL_CAVEATS,
    sil_band,
    zero_failure_demands,
)

EDGES = {4: (1e-5, 1e-4), 3: (1e-4, 1e-3), 2: (1e-3, 1e-2), 1: (1e-2, 1e-1)}
DEMANDS = {4: (29_956, 46_050), 3: (2995, 4603), 2: (299, 459), 1: (29, 44)}


@pytest.mark.parametrize("band", EDGES)
def test_bands_are_closed_below_and_open_above(band: int):
    low, high = EDGES[band]
    assert sil_band(low) == sil_band(np.nextafter(high, 0)) == band
    assert sil_band(high) == (band - 1 or None)


@pytest.mark.parametrize("upper", [0, 1e-300, 1e-9, 9.9e-6])
def test_below_the_table_is_band_4_at_most(upper: float):
    assert sil_band(upper) == 4


@pytest.mark.parametrize("upper", [0.1, 0.102763, 0.5, 1])
def test_above_the_table_is_none(upper: float):
    """0.1028 is what a score of 90.63 % at tolerance 0.01 leaves open."""
    assert sil_band(upper) is None


@pytest.mark.parametrize("band", DEMANDS)
def test_zero_failure_demands_reference(band: int):
    found = zero_failure_demands(band, 0.95), zero_failure_demands(band, 0.99)
    assert found == DEMANDS[band]


@pytest.mark.parametrize("band", EDGES)
@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.999])
def test_demands_are_the_least_that_reach_the_band(band: int, confidence: float):
    n = zero_failure_demands(band, confidence)
    assert sil_band(float(upper_bound(0, n, 1 - confidence))) == band
    below = sil_band(float(upper_bound(0, n - 1, 1 - confidence)))
    assert below == (band - 1 or None)


@pytest.mark.parametrize("upper", [-1e-9, 1.1, float("nan"), float("inf")])
def test_refuses_bounds(upper: float):
    with pytest.raises(ConfigError, match=r"not in \[0, 1\]"):
        sil_band(upper)


def test_refuses_demands():
    for band in (0, 5):
        with pytest.raises(ConfigError, match=f"band={band} is not one of"):
            zero_failure_demands(band, 0.95)
    for confidence in (0, 1, 95, float("nan")):
        with pytest.raises(ConfigError, match=r"confidence=.*\(0, 1\)"):
            zero_failure_demands(2, confidence)


@pytest.mark.parametrize(
    "topic",
    [
        "whole safety function",
        "systematic",
        "architecture",
        "represent",
        "independent",
        "tolerance",
        "per hour",
        "adversary",
        "Annex D",
    ],
)
def test_caveats_name_every_reason(topic: str):
    assert sum(topic in caveat for caveat in SIL_CAVEATS) == 1


def test_nothing_is_called_achieved():
    """The word stands only behind a negation, in the texts and in the documentation."""
    texts = [*SIL_CAVEATS, sil.__doc__, sil_band.__doc__, zero_failure_demands.__doc__]
    for text in texts:
        left = (text or "").replace("not achieved", "").replace("*", "")
        assert "achieve" not in left.lower()
