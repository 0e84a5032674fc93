"""Sensitivity scores: over the images (`spread`), in an image (`direction`), in a report.

`figures` and `words` are what a report shows of them.
"""

from .direction import eigenvector_map as eigenvector_map
from .spread import lambda_histogram as lambda_histogram
from .spread import lambda_scatter as lambda_scatter
