"""The Gaussian-mixture certificate.

`certifier` is the class, `head` its classifier of latents: `fitting` and `converting` say which
Gaussians, `parameters` which numbers are stored; `reach` takes a latent radius to pixels, `rows` is
what comes out.
"""

from .certifier import Ellips as Ellips
from .head import EllipsHead as EllipsHead
