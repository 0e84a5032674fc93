"""Testing.

Victims solved on paper, and the contract of a probe as one call; pytest is not needed.
"""

from .contract import check_probe as check_probe
from .victims import HalfSpace as HalfSpace
from .victims import LinearGaussian as LinearGaussian
from .victims import RateVictim as RateVictim
from .victims import small_net as small_net
