"""Which inputs are provably safe? Certificates; what is called one, is one.

`bounds`: what may enter a certificate, and what may not; `estimates`: numbers that may not.
"""

from .bounds import Estimate as Estimate
from .bounds import LipschitzBound as LipschitzBound
from .estimates import clever as clever
from .estimates import sampled_gradients as sampled_gradients
