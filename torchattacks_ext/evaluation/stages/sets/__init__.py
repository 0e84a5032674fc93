"""Stages about the data as a whole. `source` reads a second set; `ood` (with `asked`, `scored` and
`detectors`), `shift` and `audit` each are a stage.
"""
