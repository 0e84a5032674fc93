"""Attacks.

One class a file, file name = class name in lower case; a new one is a file and a line here.
"""

from .base.probe import Probe as Probe
from .fimscore.fimscore import FIMScore as FIMScore
from .msa.msa import MSA as MSA
from .prtest.prtest import PRTest as PRTest
