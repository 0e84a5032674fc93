"""Which inputs are provably safe? Certificates; what is called one, is one.

`bounds`: what may enter a certificate, and what may not. `ellips`: Gaussian mixtures on an encoder.
"""

from .bounds import Estimate as Estimate
from .bounds import LipschitzBound as LipschitzBound
from .ellips.certifier import Ellips as Ellips
from .ellips.head import EllipsHead as EllipsHead
