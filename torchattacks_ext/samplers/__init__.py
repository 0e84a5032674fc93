"""Which perturbation laws are there? One law a file; a new one is a file and a line here."""

from __future__ import annotations

from .base import CallableSampler as CallableSampler
from .base import Sampler as Sampler
from .base import Uniforms as Uniforms
from .choose import choose_sampler as choose_sampler
from .linf import LinfUniform as LinfUniform
