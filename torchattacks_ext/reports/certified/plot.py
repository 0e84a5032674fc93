"""How does a notebook or a paper show certificates side by side? One matplotlib figure."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import MissingExtra
from ...numerics.rates.binomial import clopper_pearson
from ...results.base.facts import Cost
from ...results.certificates import Certificates
from ..words import confidence_text
from .curve import end_of
from .entries import Entry, entries_of
from .lines import axis_name, place_of

STYLES = (
    ("#2f73a8", "-"),
    ("#b8481b", "--"),
    ("#30363c", ":"),
    ("#5b6470", "-."),
    ("#a3abb3", (0, (1, 4))),
)
"""Colour and dashes of each status, in the order of TIERS."""
_POINTS = 400


def plot_certified(
    tables: Mapping[str, Certificates],
    *,
    costs: Mapping[str, Cost] | None = None,
    confidence: float = 0.95,
    title: str = "",
) -> Any:
    """Certified accuracy against the radius, a line a table; passes and seconds an image beside it.

    tables, costs: as in :func:`~torchattacks_ext.reports.certified.certified_side`. Colour and
    dashes go by the status alone and letters name the tables; bands are exact intervals, each of
    one radius; a table of a single radius is a mark with its interval. Returns a matplotlib Figure
    of its own, which no window shows: `figure.savefig("certified.pdf")`.

    Raises MissingExtra without matplotlib, and as `certified_side`.

    >>> from torchattacks_ext.certify import foreign_certificates
    >>> table = foreign_certificates([1, 2], [0.3, 0.1], [1, 0], norm="L2", verifier="somebody")
    >>> len(plot_certified({"theirs": table}).axes)
    1
    """
    entries = entries_of(tables, costs)
    figure = _figure_class()(figsize=(9.6, 4.2), layout="constrained")
    priced = [one for one in entries if math.isfinite(one.forward)]
    if priced:
        curves, passes, time = figure.subplots(
            1, 3, gridspec_kw={"width_ratios": (2.6, 1, 1)}
        )
        _costs(passes, priced, "forward", "forward row-passes\nan image")
        _costs(time, priced, "seconds", "seconds\nan image")
    else:
        curves = figure.subplots()
    _curves(curves, entries, confidence)
    keys = dict(zip(*reversed(curves.get_legend_handles_labels())))
    names = sorted(keys)  # by letter
    figure.legend(
        [keys[name] for name in names], names, loc="outside lower left", ncols=2
    )
    if title:
        figure.suptitle(title)
    return figure


def _figure_class() -> Any:
    try:
        return importlib.import_module("matplotlib.figure").Figure
    except ImportError as error:
        raise MissingExtra(
            "plot_certified needs matplotlib; pip install 'torchattacks_ext[demo]'"
        ) from error


def _curves(axes: Any, entries: Sequence[Entry], confidence: float) -> None:
    end = max(
        end_of(one.radii, ()) if only is None else 1.05 * only
        for one, only in ((e, e.table.fixed_radius) for e in entries)
    )
    at = np.linspace(0.0, end or 1.0, _POINTS)
    for one in entries:
        colour, dashes = STYLES[one.rank]
        name = f"{one.letter} {one.name}: {one.tier}"
        only = one.table.fixed_radius
        if only is not None:
            p = one.table.certified_accuracy(only, confidence)
            ends = [[p.value - p.low], [p.high - p.value]]
            axes.errorbar([only], [p.value], ends, fmt="o", color=colour, label=name)
            axes.annotate(
                one.letter, (only, p.value), (5, 5), textcoords="offset points"
            )
            continue
        n = len(one.radii)
        above = n - np.searchsorted(one.radii, at, side="right")
        low, high = clopper_pearson(above, n, confidence)
        axes.fill_between(at, low, high, color=colour, alpha=0.12, linewidth=0)
        axes.step(
            at, above / n, where="post", color=colour, linestyle=dashes, label=name
        )
        place = place_of(one, entries.index(one), len(entries), float(at[-1]))
        axes.annotate(
            one.letter,
            (place, (one.radii > place).mean()),
            (4, 4),
            textcoords="offset points",
            fontweight="bold",
        )
    axes.set(xlim=(0, end or 1.0), ylim=(0, 1), ylabel="certified accuracy")
    axes.set_xlabel(axis_name(entries))
    axes.grid(alpha=0.3)
    axes.set_title(
        f"bands: {confidence_text(confidence)}", fontsize="small", loc="right"
    )


def _costs(axes: Any, entries: Sequence[Entry], kind: str, name: str) -> None:
    rows = np.arange(len(entries))
    values = np.array([max(float(getattr(one, kind)), 1e-6) for one in entries])
    colours = [STYLES[one.rank][0] for one in entries]
    axes.hlines(rows, values.min() / 2, values, color="#d6d9d6")
    axes.scatter(values, rows, color=colours, zorder=3)
    for row, value in zip(rows, values):
        text = f"{value:,.0f}" if value >= 10 else f"{value:.2g}"
        axes.annotate(
            text,
            (value, row),
            (0, 7),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
    axes.set(xscale="log", yticks=rows, yticklabels=[one.letter for one in entries])
    axes.set(xlim=(values.min() / 2, values.max() * 4), ylim=(len(rows) - 0.4, -0.6))
    axes.set_title(name, fontsize="medium")
    axes.grid(axis="x", alpha=0.3)
