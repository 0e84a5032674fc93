"""Where do finished pieces go? Nowhere, or into a state from which the same run goes on."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..data.stream import Stream
from ..errors import InputError
from ..models.checks import ModelTraits
from ..results.base import codec
from ..results.base.facts import Cost
from ..results.base.unknown import known_fields
from ..results.evaluation import EvaluationReport
from .gallery import Picture
from .rows.pieces import Piece, on_disk
from .running import Running
from .state.journal import REPORT, Journal, opened
from .state.key import Key, claim
from .state.signals import stoppable

logger = logging.getLogger("torchattacks_ext")

Place = tuple[str, int, int]
"""Label of a stage, first row, one beyond the last row."""


@dataclass(frozen=True)
class Look:
    """What the first batch showed of the model, and what that cost. n: rows of that batch."""

    traits: ModelTraits
    n: int
    cost: Cost = Cost()


class Nowhere:
    """A run without a state: nothing is kept, nothing is there."""

    folder: Path | None = None

    def recall(self, running: Sequence[Running]) -> Look | None:
        """Nothing."""
        return None

    def looked(self, look: Look) -> None:
        """Nobody asks for it again."""

    def save(self, run: Running, piece: Piece, pictures: Sequence[Picture]) -> Piece:
        """The piece as it is."""
        return piece

    def pictures(self, run: Running, piece: Piece) -> Sequence[Picture]:
        """None."""
        return ()

    def facts(self) -> dict[str, Any]:
        """Nothing for the provenance."""
        return {}

    def finish(self, report: EvaluationReport) -> None:
        """Nothing is left to write."""


class InState(Nowhere):
    """A run whose finished pieces are lines of a state."""

    def __init__(self, journal: Journal) -> None:
        self._journal, self.folder = journal, journal.folder
        self._pictures: dict[Place, list[Mapping[str, Any]]] = {}
        self._n_before = 0
        if journal.n_bad:
            logger.warning(
                "%d lines of state %s cannot be read; their rows are measured again",
                journal.n_bad,
                journal.folder,
            )

    def recall(self, running: Sequence[Running]) -> Look | None:
        """Hand each stage its pieces of the earlier run; what was seen of the model there."""
        found: dict[str, list[Piece]] = {run.stage.label: [] for run in running}
        look = None
        for line in self._journal.lines:
            if "look" in line:
                cost = known_fields(Cost, line["cost"])
                traits = known_fields(ModelTraits, line["look"])
                look = Look(traits, line["n"], cost)
            elif line.get("stage") in found:
                piece = _read(line, self.folder)
                place = line["stage"], piece.start, piece.stop
                found[line["stage"]].append(piece)
                self._pictures[place] = line.get("pictures", [])
                self._n_before += 1
        for run in running:
            run.recall(found[run.stage.label])
        self._journal.forget()
        return look

    def looked(self, look: Look) -> None:
        """Write down what was seen of the model."""
        told = {"look": asdict(look.traits), "n": look.n, "cost": asdict(look.cost)}
        self._journal.append(told)

    def save(self, run: Running, piece: Piece, pictures: Sequence[Picture]) -> Piece:
        """Images go into files of the state, the rows into a line."""
        label = run.stage.label
        if piece.result.sidecars:
            assert self.folder is not None
            name = f"{codec.digest([label.encode()])[:8]}-{piece.start}"
            kept = on_disk(piece.result, self.folder / "images", name)
            piece = replace(piece, result=kept)
        self._journal.append(piece.to_dict(label, pictures))
        return piece

    def pictures(self, run: Running, piece: Piece) -> Sequence[Picture]:
        """Those of a line."""
        place = run.stage.label, piece.start, piece.stop
        return [Picture.from_dict(one) for one in self._pictures.pop(place, ())]

    def facts(self) -> dict[str, Any]:
        """How much of the report was there before, and lines that were skipped."""
        counts = {"pieces_before": self._n_before, "bad_lines": self._journal.n_bad}
        return {"state": {"folder": str(self.folder), **counts}}

    def finish(self, report: EvaluationReport) -> None:
        """The report beside the lines, in one step."""
        assert self.folder is not None
        self._journal.sync()
        text = json.dumps(report.to_dict(), allow_nan=False)
        codec.write_text(self.folder / REPORT, text)


def _read(line: Mapping[str, Any], folder: Path | None) -> Piece:
    try:
        return Piece.from_dict(line)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"state {str(folder)!r} holds a line that cannot be used ({error}); was it written by "
            "another version? Give another folder"
        ) from error


@contextmanager
def keeping(folder: Path | None, key: Key | None) -> Iterator[Nowhere]:
    """Where the pieces of one run go. folder: of a state, or None; key: whose run it is.

    Raises InputError for what cannot be a state, StateError for one that another run writes into,
    or that is of another plan, model or data.
    """
    if folder is None or key is None:
        yield Nowhere()
        return
    with opened(folder) as journal:
        claim(folder, key)
        with stoppable(folder):
            yield InState(journal)


def look_of(stream: Stream, cost: Cost, n: int) -> Look:
    """What is known of the model after the first batch of `n` rows."""
    assert stream.traits is not None  # asked by the stream
    return Look(stream.traits, n, cost)
