"""Testing.

Victims solved on paper, victims that mask their gradient, and the contracts of a probe and of a
sampler as one call each; a unit test of attacks (`unit`, on what `binarised` plants). pytest is not
needed.
"""

from .binarised import Binarised as Binarised
from .contract import check_probe as check_probe
from .gradient_killer import GradientKiller as GradientKiller
from .masked import NaNGradient as NaNGradient
from .masked import Quantised as Quantised
from .masked import RandomisedInput as RandomisedInput
from .masked import SaturatedLogits as SaturatedLogits
from .masked import TiedLogits as TiedLogits
from .sampler_contract import check_sampler as check_sampler
from .unit import AttackUnitTest as AttackUnitTest
from .unit import attack_unit_test as attack_unit_test
from .victims import HalfSpace as HalfSpace
from .victims import LinearGaussian as LinearGaussian
from .victims import RateVictim as RateVictim
from .victims import small_net as small_net
