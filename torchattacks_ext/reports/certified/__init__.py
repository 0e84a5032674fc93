"""Certified radii in a report: `words` for the scorecard and the summary, `told` the table of a
stage, `curve` its picture.
"""

from .curve import certified_curve as certified_curve
