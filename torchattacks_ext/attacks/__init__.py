"""Attacks.

One class a file, file name = class name in lower case; a new one is a file and a line here.
"""

from .fimscore import FIMScore as FIMScore
from .msa import MSA as MSA
from .probe import Probe as Probe
from .prtest import PRTest as PRTest
