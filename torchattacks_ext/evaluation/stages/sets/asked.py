"""What is a stage about images from elsewhere asked to do? Its arguments, checked once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ....errors import ConfigError
from ....numerics.arguments import parse_whole
from ....numerics.detection.scores import UNNORMALISED
from ....results.datasets.ood import SCORES
from ...plan import Plan, did_you_mean
from . import detectors as foreign
from .source import Source, source_of, sources_of

ARGUMENTS = ("near", "far", "noise", "scores", "detectors", "train", "n", "adapt")
NOISES = ("uniform", "gaussian")
MOST = 1000


@dataclass(frozen=True, eq=False)
class Asked:
    """scores, noises: names. sources: (kind, set). detectors: name -> object or "module:Class".

    train: labelled images for those that are fitted, or None. n: most images of a set.
    """

    scores: tuple[str, ...]
    noises: tuple[str, ...]
    sources: tuple[tuple[str, Source], ...]
    detectors: Mapping[str, Any]
    train: Source | None
    n: int


def what_is_asked(settings: Mapping[str, Any], plan: Plan) -> Asked:
    """The arguments of stage "ood". Raises ConfigError for values outside their domains.

    >>> from torchattacks_ext.evaluation.plan import check_plan
    >>> plan = check_plan({"eps": 0, "stages": ["ood"]})
    >>> what_is_asked({"noise": "gaussian"}, plan).noises
    ('gaussian',)
    """
    n, adapt = parse_whole(settings.get("n", MOST), "n", 1), settings.get(
        "adapt", False
    )
    if not isinstance(adapt, bool):
        raise ConfigError(f"adapt={adapt!r} must be True or False")
    sources = [
        (kind, one)
        for kind in ("near", "far")
        for one in sources_of(kind, settings.get(kind), n=n, adapt=adapt)
    ]
    noises = _noises(settings.get("noise", "uniform"), plan)
    _check_names([*(one.name for _, one in sources), *noises])
    detectors = _detectors(settings.get("detectors"))
    train = _training(settings.get("train"), detectors)
    scores = _scores(settings.get("scores"), plan)
    if not scores and not detectors:
        raise ConfigError(
            "scores=[] leaves nothing to compute; name one, or a detector"
        )
    return Asked(scores, noises, tuple(sources), detectors, train, n)


def _training(given: Any, detectors: Mapping[str, Any]) -> Source | None:
    lacking = [name for name, one in detectors.items() if foreign.needs_fit(one)]
    if given is None and lacking:
        raise ConfigError(
            f"detector {lacking[0]} must be fitted; give train=, labelled images of the kind that "
            "the model was trained on"
        )
    if given is not None and not lacking:
        raise ConfigError("train= is for detectors that are fitted, and none is here")
    if given is None:
        return None
    return source_of("train", "train", given, need_labels=True)


def _scores(given: Any, plan: Plan) -> tuple[str, ...]:
    lacks = UNNORMALISED if plan.outputs == "probs" else ()
    if given is None:
        return tuple(name for name in SCORES if name not in lacks)
    if not isinstance(given, (list, tuple)):
        raise ConfigError(
            f'scores={given!r} must be a list, say ["max_softmax", "energy"]'
        )
    for name in given:
        if name not in SCORES:
            hint = did_you_mean(str(name), SCORES)
            raise ConfigError(
                f"score {name!r} is not one of {', '.join(SCORES)}{hint}; other ones are "
                "detectors="
            )
        if name in lacks:
            raise ConfigError(
                f"score {name!r} needs logits, and outputs='probs' gives none; take 'max_softmax'"
            )
    return tuple(dict.fromkeys(given))


def _noises(given: Any, plan: Plan) -> tuple[str, ...]:
    if given is False or given is None:
        return ()
    if plan.box is None:
        raise ConfigError(
            "noise is drawn in the bounds, and bounds=None has none; give noise=False"
        )
    listed = [given] if isinstance(given, str) else given
    if not isinstance(listed, (list, tuple)) or any(
        one not in NOISES for one in listed
    ):
        raise ConfigError(
            f"noise={given!r} must be one or a list of {', '.join(NOISES)}, or False"
        )
    return tuple(dict.fromkeys(listed))


def _check_names(names: Sequence[str]) -> None:
    if not names:
        raise ConfigError(
            "stage 'ood' has no set to tell apart; give near=, far= or noise="
        )
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"two sets are called {name!r}; give them other names")


def _detectors(given: Any) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, (list, tuple)):
        raise ConfigError(
            f"detectors={given!r:.60} must be a list of detectors, or of module:Class"
        )
    found: dict[str, Any] = {}
    for one in given:
        foreign.check_detector(one)
        name = foreign.name_of(one)
        if name in found or name in SCORES:
            raise ConfigError(
                f"two scores are called {name!r}; leave one out, or give it a class of its own"
            )
        found[name] = one
    return found
