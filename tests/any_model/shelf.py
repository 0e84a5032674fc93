"""Where does the command line find a model that is already made? `any_model.shelf:take`."""

from __future__ import annotations

from typing import Any

_shelf: list[Any] = []


def put(model: Any) -> None:
    """The model that `take` hands out from now on."""
    _shelf[:] = [model]


def take() -> Any:
    """A factory for --model."""
    return _shelf[0]
