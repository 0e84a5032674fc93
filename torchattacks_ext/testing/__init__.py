"""Testing.

Victims solved on paper, and the contracts of a probe and of a sampler as one call each; pytest
is not needed.
"""

from .contract import check_probe as check_probe
from .sampler_contract import check_sampler as check_sampler
from .victims import HalfSpace as HalfSpace
from .victims import LinearGaussian as LinearGaussian
from .victims import RateVictim as RateVictim
from .victims import small_net as small_net
