"""How is a probe tested? Victims solved on paper, and `check_probe`, the whole contract as one call."""

from __future__ import annotations

import torch
from torch import Tensor, nn
