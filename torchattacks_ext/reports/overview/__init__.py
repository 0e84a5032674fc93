"""The evaluation as a whole: `scorecard`, `comparison` of models, plain `summary`, `context`."""
