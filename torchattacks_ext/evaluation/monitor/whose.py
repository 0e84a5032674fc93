"""Is this the model of the reference, and are these images like its own? Else one clear error."""

from __future__ import annotations

from typing import Any

import torch

from ...errors import ConfigError, InputError, StateError
from ...models.fingerprint import describe_model
from ...results.base.facts import Flag
from ...results.monitor.reference import Reference
from .measured import Measured


def known_as(model: Any, tag: str | None) -> dict[str, Any]:
    """What a model is known by: class, hash of the weights, tag; no row-pass.

    Raises ConfigError for what is no model, and for one whose weights have no hash, without a tag.

    >>> known_as(torch.nn.Flatten(), "mine")["tag"]
    'mine'
    """
    if not callable(model):
        raise ConfigError(
            f"model is {type(model).__name__}, expected a Module or a callable that maps images "
            "(N, ...) to scores (N, K)"
        )
    facts = describe_model(model)
    if facts["sha256"] is None and tag is None:
        why = facts.get("not_hashed") or "it is no Module"
        raise ConfigError(
            f"a reference needs to know the model again, and its weights have no hash ({why}): "
            "give tag=, a name of your own that changes with the model"
        )
    return {"class": facts["class"], "sha256": facts["sha256"], "tag": tag}


def refuse_other_model(reference: Reference, model: Any, tag: str | None) -> None:
    """StateError unless class, weights and tag are those of the reference; no row-pass."""
    now, before = known_as(model, tag), reference.model
    odd = [key for key in now if now[key] != before.get(key)]
    if odd:
        said = ", ".join(
            f"{key} {_short(before.get(key))} then, {_short(now[key])} now"
            for key in odd
        )
        raise StateError(
            f"the reference is of another model ({said}): features of two models have nothing to "
            "do with each other; fit a reference for this model, or give the one it was fitted with"
        )


def refuse_other_features(reference: Reference, seen: Measured) -> None:
    """InputError for features of another length."""
    wide = reference.features.shape[1]
    if seen.features.shape[1] != wide:
        raise InputError(
            f"the model gives {seen.features.shape[1]} features, the reference has {wide}; fit it "
            "again"
        )


def repeated(reference: Reference, seen: Measured) -> list[Flag]:
    """A flag where images of the reference come again, for then a shift is hidden.

    Raises InputError where half of them are: that says nothing of new images.
    """
    again = int(torch.isin(seen.ids, reference.ids).sum())
    if not again:
        return []
    if 2 * again >= len(seen):
        raise InputError(
            f"{again} of {len(seen)} images are in the reference: they cannot differ from it; give "
            "images that it does not hold"
        )
    text = (
        f"{again} of {len(seen)} images are in the reference as well, which makes the others look "
        "more alike than they are; give images that it does not hold"
    )
    return [Flag("in_reference", text, again)]


def _short(value: Any) -> str:
    text = str(value)
    return text[:12] if len(text) == 64 else text
