"""What is a section of a report, whatever the renderer? A table, what to know, perhaps a figure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Section:
    """title: plain text. rows: the head and one row a line. align: "l" or "r" a column.

    notes: what to know. figure: an HTML figure, escaped; "" where there is nothing to draw.
    caption: of the table.
    """

    title: str
    rows: tuple[tuple[str, ...], ...]
    align: str
    notes: tuple[str, ...] = ()
    figure: str = ""
    caption: str = ""
