"""Models made attackable, or asked in another way: one stand-in a file."""

from .bpda import BPDA as BPDA
from .eot import EOT as EOT
from .frozen_batch import FrozenBatch as FrozenBatch
from .hard_label import HardLabel as HardLabel
from .nes import NESGrad as NESGrad
from .shared_trunk import SharedTrunk as SharedTrunk
from .soft_assign import SoftAssign as SoftAssign
