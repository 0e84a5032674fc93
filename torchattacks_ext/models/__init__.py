"""Models: how they are borrowed, viewed, counted, checked and made differentiable."""

from .bpda import BPDA as BPDA
from .checks import ModelTraits as ModelTraits
from .checks import inspect_model as inspect_model
from .eot import EOT as EOT
from .frozen_batch import FrozenBatch as FrozenBatch
from .hard_label import HardLabel as HardLabel
from .logits import LogitsView as LogitsView
from .meter import Budget as Budget
from .meter import Meter as Meter
from .nes import NESGrad as NESGrad
from .normalised import NormalizedModel as NormalizedModel
from .session import session as session
from .shared_trunk import SharedTrunk as SharedTrunk
from .soft_assign import SoftAssign as SoftAssign
