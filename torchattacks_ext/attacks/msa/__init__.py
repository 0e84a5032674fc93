"""The Mixed Surrogate Attack.

`msa` is the class, `settings` its arguments, `plans` its versions as data. `walk` goes through the
data by the kind of target, `run` attacks one batch, `fresh` and `joint` are targets that answer at
random or by the batch; `models`, `surrogates` and `shared` are what is attacked, `rows` what comes
out.
"""

from .msa import MSA as MSA
