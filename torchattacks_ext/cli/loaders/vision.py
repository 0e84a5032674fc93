"""How does "torchvision:NAME@WEIGHTS" become a model? Built by torchvision, weights read safely."""

from __future__ import annotations

import difflib
from typing import Any

from ...data.loaders.pictures import torchvision_part
from ...errors import ConfigError, InputError
from .cache import torch_file
from .checkpoints import read_weights
from .loaded import Loaded
from .names import imagenet_names, random_flag

NONE = "none"
"""Of weights: random ones."""


def load_vision(spec: str, download: bool) -> Loaded:
    """The classifier "NAME" (default weights), "NAME@WEIGHTS" or "NAME@none" (random weights).

    Weights come from the cache of torch.hub; a file is read once by the restricted reader before
    torchvision reads it, so that nothing in it can run. Raises ConfigError for unknown names,
    InputError for files that are missing or damaged.
    """
    from ...models.preprocessing.read import of_torchvision

    name, _, which = spec.partition("@")
    models = check_name(name)
    if which == NONE:
        model = models.get_model(name, weights=None, **_quiet(name))
        why = f"torchvision:{spec} has random weights and no preprocessing"
        return Loaded(
            model, f"torchvision:{spec}", unsaid=why, flags=(random_flag(spec),)
        )
    weights = _weights(models, name, which)
    said = f"torchvision:{name}@{weights.name}"
    categories = weights.meta.get("categories")
    if not categories:
        raise InputError(
            f"{said} are weights of features, not of a classifier; name others"
        )
    read_weights(torch_file(weights.url, download))
    try:
        model = models.get_model(name, weights=weights, progress=False)
    except Exception as error:
        raise InputError(f"{said}: {' '.join(str(error).split())[:200]}") from error
    known = of_torchvision(weights, said)
    return Loaded(model, said, known, classes=imagenet_names(list(categories)))


def build_vision(name: str, n_classes: int | None = None) -> Any:
    """The empty classifier, for weights in a file; n_classes: other than the usual number."""
    models = check_name(name)
    told = {} if n_classes is None else {"num_classes": n_classes}
    return models.get_model(name, weights=None, **told, **_quiet(name))


def of_tag(name: str, which: str) -> Any:
    """The preprocessing of published weights. Raises ConfigError for unknown ones."""
    from ...models.preprocessing.read import of_torchvision

    weights = _weights(check_name(name), name, which)
    return of_torchvision(weights, f"torchvision:{name}@{which}")


def check_name(name: str) -> Any:
    """torchvision.models, which has a classifier of this name. Raises ConfigError."""
    models = torchvision_part("models")
    known = models.list_models(module=models)
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ConfigError(f"torchvision has no classifier {name!r}{hint}")
    return models


def _quiet(name: str) -> dict[str, Any]:
    """Two nets announce that their random weights will be made in another way one day."""
    return {"init_weights": False} if name in ("googlenet", "inception_v3") else {}


def _weights(models: Any, name: str, which: str) -> Any:
    known = models.get_model_weights(name)
    if not which:
        return known.DEFAULT
    if which not in known.__members__:
        names = [key for key in known.__members__ if key != "DEFAULT"]
        raise ConfigError(
            f"torchvision:{name} has the weights {', '.join(names)}, not {which!r}; or @{NONE}"
        )
    return known[which]


def other_function(name: str) -> str:
    """A caution for nets whose function is not in their state_dict; "" for all others."""
    if name not in ("googlenet", "inception_v3"):
        return ""
    return (
        f"{name} normalises once more inside (transform_input) where torchvision built it with "
        "weights; that is not in a file: it is off here, give a factory where it must be on"
    )
