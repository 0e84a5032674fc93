"""Does every argument that can change a decision stand in the settings of a result?"""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch

from torchattacks_ext import MSA, FIMScore, Probe, PRTest
from torchattacks_ext.engines.judge.ledger import AttackSpec
from torchattacks_ext.testing import small_net

pytestmark = pytest.mark.filterwarnings("ignore::torchattacks_ext.ReliabilityWarning")
SPLITTING = {"test": "splitting", "tolerance": 1e-4}
LINE = AttackSpec("apgd", steps=3)
BLACK_BOX = {"method": "blackbox"}

EVERYWHERE = {
    "batch_size": "changes no decision of a row that is answered by itself",
    "n_queries": "of one call; `measure` does not read it",
    "max_queries": "where a run ends: rows beyond are UNDECIDED, and resume= goes on",
    "max_seconds": "as max_queries",
    "keep": "where images go",
}
COUPLED = "of batch-dependent targets; named in the settings of their results"
FREE: dict[type[Probe], dict[str, str]] = {
    PRTest: EVERYWHERE,
    FIMScore: EVERYWHERE | {"jvp": "how a product is computed; equal to rounding"},
    MSA: EVERYWHERE
    | {
        "deployed_batch": COUPLED,
        "headline": COUPLED,
        "partitions": "how many partitions are told; rows are those of the first",
        "fresh_draws": "of randomised targets; named in the settings of their results",
    },
}
"""Arguments that are no part of the settings, and why."""

COMMON: dict[str, Any] = {
    "eps": 0.05,
    "norm": "L2",
    "seed": 3,
    "bounds": (0, 2),
    "outputs": "probs",
    "output_key": "out",
    "batch_size": 3,
    "n_queries": 7,
    "max_queries": 700,
    "max_seconds": 9.0,
    "keep": "memory",
}
# argument -> another value, or (another value, what else must be said beside it)
OTHER: dict[type[Probe], dict[str, Any]] = {
    PRTest: {
        "sampler": {"name": "gaussian", "sigma": 0.1},
        "tolerance": 0.1,
        "significance": 0.01,
        "n_max": 1000,
        "reference": "prediction",
        "test": "fixed",
        "clean_policy": "sample",
        "n_mean": 4,
        "shared_noise": True,
        "n_systems": (4, SPLITTING),
        "n_particles": (8, SPLITTING),
        "n_moves": (12, SPLITTING),
    },
    FIMScore: {
        "method": "gram",
        "tol": 1e-2,
        "dtype": torch.float64,
        "temperature": 2.0,
        "jvp": "forward_mode",
        "n_directions": (50, BLACK_BOX),
        "target": (0.5, BLACK_BOX),
        "grey": (True, BLACK_BOX),
        "kl": False,
        "smooth": (0.1, 4),
    },
    MSA: {
        "surrogates": [small_net(seed=9).eval()],
        "version": "quick",
        "engine": "torchattacks",
        "plan": ([AttackSpec("apgd", steps=4)], {"version": "custom"}),
        "probe_every": 1,
        "surrogate_normalization": None,
        "deployed_batch": 4,
        "headline": "union",
        "partitions": 1,
        "fresh_draws": 7,
    },
}


def arguments(kind: type[Probe]) -> list[str]:
    own = inspect.signature(kind.__init__).parameters
    base = inspect.signature(Probe.__init__).parameters
    left_out = ("self", "name", "model", "options", "own")
    return [name for name in {**own, **base} if name not in left_out]


CASES = [(kind, name) for kind in OTHER for name in arguments(kind)]


@pytest.mark.parametrize(
    "kind, name", CASES, ids=[f"{k.__name__}-{n}" for k, n in CASES]
)
def test_every_argument_is_a_setting_or_has_a_reason(
    kind: type[Probe], name: str
) -> None:
    """A new argument fails here until it has another value above, and a place in the settings."""
    other, model = {**COMMON, **OTHER[kind]}[name], small_net().eval()
    paired = isinstance(other, tuple) and len(other) == 2 and isinstance(other[1], dict)
    value, beside = other if paired else (other, {})
    first = dict(beside)
    if name == "plan":
        first["plan"] = [LINE]
    plain = kind(model, **first)  # type: ignore[call-arg]
    changed = kind(model, **{**first, name: value})  # type: ignore[call-arg]
    differs = plain.settings() != changed.settings()
    assert differs is not (name in FREE[kind]), FREE[kind].get(name, "no reason known")


@pytest.mark.parametrize("kind", list(OTHER))
def test_what_is_said_later_is_a_setting_too(kind: type[Probe]) -> None:
    probe = kind(small_net().eval())  # type: ignore[call-arg]
    before = probe.settings()
    probe.set_model_training_mode(dropout_training=True)
    assert probe.settings() != before
    if "targeted" not in probe.supported_mode:
        return
    seen = []
    for kth in (1, 2):
        probe.set_mode_targeted_least_likely(kth, quiet=True)
        seen.append(probe.settings())
    probe.set_mode_targeted_random(quiet=True)
    seen.append(probe.settings())
    assert len({str(settings) for settings in seen}) == 3
