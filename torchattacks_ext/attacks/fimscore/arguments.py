"""Which settings of FIMScore mean something?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

import torch

from ...errors import ConfigError, StatusError
from ...models.jvp import BACKENDS
from .temperature import given_temperature

if TYPE_CHECKING:
    from .fimscore import FIMScore

Method = Literal[
    "auto",
    "gram",
    "lanczos",
    "power",
    "srp_hutchinson",
    "blackbox",
    "srp_blackbox",
]
METHODS: tuple[str, ...] = get_args(Method)
BLACK_BOX = ("blackbox", "srp_blackbox")
"""Methods that ask for scores only."""
SKETCH = ("n_directions", "target", "grey")
"""Their settings."""
CITATION = """@misc{srp2026,
  title         = {Input Fisher Information Spectral Norm as an Attack-free Robustness Measure},
  year          = {2026},
  eprint        = {2606.04767},
  archivePrefix = {arXiv},
  note          = {arXiv:2606.04767}
}
@inproceedings{zhao2019ossa,
  author    = {Zhao, Chenxiao and Fletcher, P. Thomas and Yu, Mixue and Peng, Yaxin and
               Zhang, Guixu and Shen, Chaomin},
  title     = {The Adversarial Attack and Detection under the {Fisher} Information Metric},
  booktitle = {AAAI},
  year      = {2019}
}"""


def check_arguments(probe: FIMScore) -> None:
    """Raises ConfigError for values outside their domains."""
    if probe.method not in METHODS:
        raise ConfigError(f"method={probe.method!r} is not one of {METHODS}")
    if probe.tol is not None and not 0 < probe.tol < 1:
        raise ConfigError(f"tol={probe.tol!r} must lie in (0, 1), say 1e-3, or None")
    if probe.dtype not in (None, torch.float32, torch.float64):
        raise ConfigError(
            f"dtype={probe.dtype!r} is neither torch.float64, torch.float32 nor None; half "
            "precision has not the digits for a Jacobian"
        )
    if probe.jvp not in ("auto", *BACKENDS):
        raise ConfigError(f"jvp={probe.jvp!r} is not one of {('auto', *BACKENDS)}")
    given_temperature(probe.temperature)
    n, target = probe.n_directions, probe.target
    if not isinstance(n, int) or isinstance(n, bool) or n < 2:
        raise ConfigError(f"n_directions={n!r} must be a whole number >= 2")
    if target is not None and not 0 < target < float("inf"):
        raise ConfigError(
            f"target={target!r} must be a number > 0, half an interval of log lambda, or None"
        )
    if probe.grey and probe.method != "blackbox":
        raise ConfigError('grey=True goes with method="blackbox"')


def own_settings(probe: FIMScore) -> dict[str, Any]:
    """The settings that only this probe has; those of a special use where it is asked for."""
    found: dict[str, Any] = {
        "estimator": probe.method,
        "tol": probe.tol,
        "dtype": None if probe.dtype is None else str(probe.dtype),
        "temperature": probe.temperature_value if probe.temperature else None,
        "space": "pixels",
    }
    if probe.method in BLACK_BOX:
        found |= {name: getattr(probe, name) for name in SKETCH}
    if not probe.kl:
        found["kl"] = False
    if probe.smooth is not None:
        found["smooth"] = list(probe.smooth)
    return found


def needs_gradient(probe: FIMScore) -> None:
    """Raises StatusError for a black box: its sketch has no direction worth a step."""
    if probe.method in BLACK_BOX:
        raise StatusError(
            f"method={probe.method!r} measures and has no direction to step along; use a method "
            "with gradients for images and directions"
        )
