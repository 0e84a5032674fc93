"""Heads of one trunk side by side: `told` in words, `angles` and `spreads` as figures."""

from .angles import angle_histogram as angle_histogram
from .spreads import fair_figure as fair_figure
from .told import render_heads as render_heads
