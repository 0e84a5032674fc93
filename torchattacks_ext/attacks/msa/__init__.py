"""The Mixed Surrogate Attack.

`msa` is the class, `settings` its arguments, `plans` its versions as data. `scene` is what a run
needs to know, `told` what it has to say beside its `rows`. `walk` goes through the data by the kind
of target, `batch` attacks one batch by its rules: `run` for fixed targets, `fresh` (with `draws`)
for those that answer at random, `joint` (with `protocols`) for those that answer by the batch.
`victims` are what is attacked.
"""

from .msa import MSA as MSA
