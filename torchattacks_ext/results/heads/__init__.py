"""What sensitivity reports keep: `numbers` of heads and of pairs of them, `whole` of one trunk."""

from .numbers import BINS as BINS
from .numbers import QUANTILES as QUANTILES
from .numbers import AngleLaw as AngleLaw
from .numbers import HeadNumbers as HeadNumbers
from .numbers import HeadPair as HeadPair
from .numbers import Spread as Spread
from .whole import HeadSensitivity as HeadSensitivity
