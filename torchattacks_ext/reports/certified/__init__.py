"""Certified radii in a report: `words` for the scorecard and the summary, `told` the table of a
stage, `curve` its picture; `side` several tables of any status beside each other, with `entries`
and `lines`; `plot` the same for matplotlib.
"""

from .curve import certified_curve as certified_curve
from .plot import plot_certified as plot_certified
from .side import certified_side as certified_side
