"""Corruptions of CIFAR-10-C and ImageNet-C: one family a file, their numbers in `table`.

A corruption is a function of pictures (B, C, H, W) in float64, keyed uniforms and its numbers;
`corruption` makes a law of it.
"""

from .corruption import Corruption as Corruption
from .corruption import check_name as check_name
from .corruption import parameters_for as parameters_for
from .table import DEFINITIONS as DEFINITIONS
from .table import FROST as FROST
from .table import PUBLISHED as PUBLISHED
from .table import SEVERITIES as SEVERITIES
