"""Which perturbation laws are there? One law a file; a new one is a file and a line here."""

from __future__ import annotations

from .affine import Affine as Affine
from .affine import warp as warp
from .base import CallableSampler as CallableSampler
from .base import Sampler as Sampler
from .base import Uniforms as Uniforms
from .choose import SAMPLERS as SAMPLERS
from .choose import choose_sampler as choose_sampler
from .compose import Compose as Compose
from .corruptions import PUBLISHED as PUBLISHED
from .corruptions import Corruption as Corruption
from .eightbit import EightBit as EightBit
from .gaussian import Gaussian as Gaussian
from .l1 import L1Ball as L1Ball
from .l2 import L2Ball as L2Ball
from .linf import LinfUniform as LinfUniform
from .photometric import Photometric as Photometric
from .photometric import blurred as blurred
