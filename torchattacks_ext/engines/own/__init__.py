"""Our own attacks: AutoAttack's verdict at a fraction of its passes, row by row.

Read `plans` (what is run, as data), `engine` (who is run on what), `pursuit` (rows that come and
go), then the stages, one a file: `apgd`, `malt`, `smooth`, `square`. `objectives` are the losses,
`slope` asks a model for its gradient, `ball` knows the geometry; `sweep` goes over many radii.
"""
