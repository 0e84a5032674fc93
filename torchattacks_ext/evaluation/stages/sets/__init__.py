"""Stages about the data as a whole. `source` reads a second set; `ood` (with `scored`, `detectors`),
`shift` and `audit` each are a stage.
"""
