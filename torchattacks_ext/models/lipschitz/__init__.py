"""How much can a model stretch a distance at most? One table of rules, one bound a layer.

Read in this order: `bound` (what a rule gets and gives), `rules` (a file a family of layers, and
the table), `graph` (what stands between layers), `net` (the bound of a whole model), `ball`
(smaller bounds near one image). `layers` are modules that are meant to be bounded.
"""

from .ball import BallBounds as BallBounds
from .ball import local_radius as local_radius
from .bound import Bound as Bound
from .bound import Last as Last
from .bound import LayerBound as LayerBound
from .bound import NetBound as NetBound
from .bound import Place as Place
from .layers import ClippedNorm as ClippedNorm
from .layers import GroupSort as GroupSort
from .net import bound_net as bound_net
from .rules.table import register_rule as register_rule
