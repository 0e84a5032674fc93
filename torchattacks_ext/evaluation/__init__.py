"""Evaluation: a plan of stages, run on a model and data, as one report."""

from .runner import evaluate as evaluate
from .state.merging import merge as merge
