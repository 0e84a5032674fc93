"""How does anything with a dict become a JSON file, and come back? Text or file, in one step."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, TypeVar

from . import codec

DocumentT = TypeVar("DocumentT", bound="Document")


class Document(ABC):
    """What is written as one JSON object: results, tables, reports."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Everything, in JSON types."""

    @classmethod
    @abstractmethod
    def from_dict(cls: type[DocumentT], data: Mapping[str, Any]) -> DocumentT:
        """The inverse of :meth:`to_dict`. Raises InputError for what is not whole."""

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """JSON text; with `path` also written there (UTF-8, replaced in one step)."""
        text = json.dumps(self.to_dict(), allow_nan=False, indent=1)
        if path is not None:
            codec.write_text(path, text)
        return text

    @classmethod
    def from_json(cls: type[DocumentT], source: str | os.PathLike[str]) -> DocumentT:
        """From JSON text or a file's path. Raises InputError if it is neither."""
        return cls.from_dict(codec.read_json(source))
