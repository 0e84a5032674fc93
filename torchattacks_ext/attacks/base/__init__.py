"""What every probe is made of.

`tamed` is torchattacks' Attack without its traps, `calling` its first verb, `probe` the class with
the second. `settings` is what a probe was told, `finished` what there is of a run so far,
`measuring` what happens around the rows, `saving` and `targets` are what torchattacks offers too.
"""

from .probe import Probe as Probe
