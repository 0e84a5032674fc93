"""Models: how they are borrowed, viewed, counted, checked and made differentiable.

`session` borrows a model and gives it back; `logits` and `normalised` view it, `precision` is full,
`meter` counts its rows. `checks` look at it before it is measured, `fingerprint` names its weights,
`jvp` gives products with its Jacobian; `adapters` are stand-ins for models that hide something, and
`fast` makes a copy of a slow one for the path of an attack.
"""

from .adapters.bpda import BPDA as BPDA
from .adapters.eot import EOT as EOT
from .adapters.frozen_batch import FrozenBatch as FrozenBatch
from .adapters.hard_label import HardLabel as HardLabel
from .adapters.nes import NESGrad as NESGrad
from .adapters.shared_trunk import SharedTrunk as SharedTrunk
from .adapters.soft_assign import SoftAssign as SoftAssign
from .checks import ModelTraits as ModelTraits
from .checks import inspect_model as inspect_model
from .fast.accelerate import accelerate as accelerate
from .logits import LogitsView as LogitsView
from .meter import Budget as Budget
from .meter import Meter as Meter
from .normalised import NormalizedModel as NormalizedModel
from .session import session as session
