"""How does one start a plan? A profile as YAML with comments, which loads as it is."""

from __future__ import annotations

import json
from typing import Any

from ...errors import ConfigError
from ...numerics.arguments import parse_number
from ..zoo.catalogue import attack_info
from .profiles import ASKS, profile_stages
from .threats import THREATS, threat_model

DEFAULT_THREAT = "cifar10-linf-8"
_HEAD = """\
# A plan of torchattacks_ext, profile "{profile}": what is run on a model, at which radius.
#   torchattacks-ext plan check FILE
#   torchattacks-ext evaluate --model MODEL --data DATA --plan FILE [--dry-run]
# Keys that start with a "#" are optional and shown with their defaults.

"""
_REST = """\
seed: 0                 # of all random numbers
batch_size: 256         # rows of one forward pass
# outputs: logits       # or probs, where the model ends with a softmax
# output_key:           # name or number of the scores among the model's outputs
# bounds: [0, 1]        # range of the pixels

# Stages in the order of the report; arguments stand beside the name. Two of one name need labels,
# say {name: PGD, steps: 100, label: long}. All of them: torchattacks-ext methods
stages:
"""
_BUDGET = """
# What would an expensive attack leave? From a sample of the images that a cheap one left, with an
# exact interval; the attack is a stage or an attack with arguments.
# budget: {attack: autoattack, half_width: 0.01, confidence: 0.95}
"""


def template(profile: str, threat: str | None = None) -> str:
    """A plan as YAML text. threat: a threat model by name (None: :data:`DEFAULT_THREAT`).

    Raises ConfigError for unknown names.

    >>> print(template("fast").splitlines()[0])
    # A plan of torchattacks_ext, profile "fast": what is run on a model, at which radius.
    """
    chosen = threat_model(threat or DEFAULT_THREAT)
    stages = profile_stages(profile, chosen.eps, chosen.norm)
    known = "".join(
        f"#   {one.name:<16} eps {one.eps}, {one.norm}; {one.source}\n"
        for one in THREATS
    )
    ball = (
        f"threat_model: {chosen.name}\n"
        f"# The same by hand, or another ball (radius in pixel units of [0, 1]):\n"
        f"# eps: {chosen.eps}\n# norm: {chosen.norm}           # Linf, L2 or L1\n"
        f"# Known threat models:\n{known}"
    )
    lines = [_line(stage, parse_number(chosen.eps, "eps")) for stage in stages]
    return _HEAD.format(profile=profile) + ball + _REST + "".join(lines) + _BUDGET


def _line(stage: dict[str, Any], eps: float) -> str:
    said = ", ".join(f"{key}: {_value(value, eps)}" for key, value in stage.items())
    return f"  - {{{said}}}".ljust(60) + f"  # {_asks(stage)}\n"


def _value(value: Any, eps: float) -> str:
    """As YAML; a share of the radius stays a fraction of 255 where it is one."""
    if isinstance(value, float):
        steps = round(255 * value, 6)
        if steps / 255 == value and steps == int(steps):
            return f"{int(steps)}/255"
        return repr(value)
    return value if isinstance(value, str) else json.dumps(value)


def _asks(stage: dict[str, Any]) -> str:
    for key in (stage.get("label"), stage["name"]):
        if key in ASKS:
            return ASKS[key]
    try:
        info = attack_info(stage["name"])
    except ConfigError:
        return "see the documentation"
    paper = f", arXiv:{info.paper}" if info.paper else ""
    return f"{info.family} attack{paper}"
