"""Whose run is this? Plan, model and data of a state, held against those of the run at hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import ConfigError, InputError, StateError
from ...results.base import codec
from .journal import ABOUT

SCHEMA = "run/1"
_MOST = 3
"""Keys that are named where two plans differ; more are counted."""
_REMEDIES = {
    "plan": "the plan of that run",
    "model": "the model of that run",
    "data": "the data of that run, in its order",
    "shard": "the shard of that run",
}


@dataclass(frozen=True)
class Key:
    """What must be the same for a run to go on. plan, model, data, shard: facts in JSON types.

    plan: without settings that change no row. model: class and hash, or the caller's tag. data:
    how many rows were asked for; the rows themselves are compared as they come.
    """

    plan: Mapping[str, Any]
    model: Mapping[str, Any]
    data: Mapping[str, Any]
    shard: str | None = None

    def facts(self) -> dict[str, Any]:
        """In JSON types, with a hash each."""
        parts = {"plan": self.plan, "model": self.model, "data": self.data}
        hashes = {key: codec.digest([codec.canonical(v)]) for key, v in parts.items()}
        own = {"schema": SCHEMA, "shard": self.shard, "sha256": hashes}
        return own | {key: codec.plain(value) for key, value in parts.items()}


def key_of(
    plan: Mapping[str, Any],
    model: Mapping[str, Any],
    tag: str | None,
    data: Mapping[str, Any],
    shard: str | None,
    *,
    by_batch: bool,
) -> Key:
    """The key of a run. by_batch: whether some rows depend on how batches are cut.

    Raises ConfigError for a model whose weights have no hash, and no tag.

    >>> key = key_of({"eps": 0.1, "batch_size": 8}, {"sha256": "a"}, None, {}, None, by_batch=False)
    >>> key.plan, key.model
    ({'eps': 0.1}, {'class': None, 'sha256': 'a', 'tag': None})
    """
    if model.get("sha256") is None and tag is None:
        why = model.get("not_hashed") or "it is no Module"
        raise ConfigError(
            f"state= needs to know the model again, and its weights have no hash ({why}): give "
            "tag=, a name of your own that changes with the model"
        )
    kept = {k: v for k, v in plan.items() if by_batch or k != "batch_size"}
    known = {key: model.get(key) for key in ("class", "sha256")}
    return Key(kept, known | {"tag": tag}, data, shard)


def claim(folder: Path, key: Key) -> bool:
    """Write the key into a new state, or hold it against that of an old one; whether it was there.

    Raises StateError naming what differs, InputError for a file that is no key.
    """
    path, ours = folder / ABOUT, key.facts()
    if not path.is_file():
        codec.write_text(path, json.dumps(ours, indent=1, allow_nan=False))
        return False
    theirs = codec.read_json(path)
    if theirs.get("schema") != SCHEMA:
        raise InputError(
            f"{str(path)!r} has schema={theirs.get('schema')!r}, expected {SCHEMA!r}; give another "
            "state"
        )
    for part, remedy in _REMEDIES.items():
        before, now = theirs.get(part), ours[part]
        if codec.canonical(before) != codec.canonical(now):
            raise StateError(
                f"state {str(folder)!r} is of another {part}: {_words(before, now)}; give another "
                f"folder, or {remedy}"
            )
    return True


def _words(before: Any, now: Any) -> str:
    if not isinstance(before, Mapping) or not isinstance(now, Mapping):
        return f"{before} there, {now} now"
    odd = codec.differences(before, now)
    said = [f"{k} is {_short(a)} there, {_short(b)} now" for k, (a, b) in odd.items()]
    more = f" (and {len(said) - _MOST} more)" * (len(said) > _MOST)
    return "; ".join(said[:_MOST]) + more


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) < 70 else f"{text[:66]} ..."
