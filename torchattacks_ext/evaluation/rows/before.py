"""Which rows did an earlier run finish? Its pieces, until their rows come by."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import StateError
from .lots import Lot, covered
from .pieces import Piece


class Before:
    """Pieces of an earlier run of one stage, in the order of the data.

    Of equal places the last one counts.

    >>> Before().pieces
    []
    """

    def __init__(self, pieces: Sequence[Piece] = ()) -> None:
        places = {(piece.start, piece.stop): piece for piece in pieces}
        self.pieces = [places[place] for place in sorted(places)]

    def known(self, lot: Lot, by_row: bool) -> list[tuple[Lot, bool]]:
        """The parts of a lot that are finished, and those that are not.

        by_row: whether rows depend on no other; those that do count as finished together only.
        """
        spans = [(piece.start, piece.stop) for piece in self.pieces]
        parts = list(covered(lot, spans))
        if by_row or all(done for _, done in parts):
            return parts
        apart = [p for p in self.pieces if p.stop <= lot.start or p.start >= lot.stop]
        self.pieces = apart
        return [(lot, False)]

    def of(self, lot: Lot) -> Piece:
        """The piece that a lot lies in. Raises StateError for other data."""
        piece = next(p for p in self.pieces if p.start <= lot.start < p.stop)
        piece.check(lot)
        return piece

    def refuse_more(self, n: int) -> None:
        """Raises StateError where there were rows beyond the `n` of the data."""
        last = max((piece.stop for piece in self.pieces), default=0)
        if last > n:
            raise StateError(
                f"the state is of other data: it has rows up to {last}, the data end at {n}; give "
                "another folder, or the data of that run"
            )
