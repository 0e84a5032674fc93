"""Upper bounds of the input Fisher information of a net, and what the paper's formulas say of it.

`bound` holds what is true, `paper` what was published (a reproduction), `table` a line a layer.
"""

from .bound import FisherBound as FisherBound
from .bound import fim_upper_bound as fim_upper_bound
from .paper import PaperBounds as PaperBounds
from .paper import paper_bounds as paper_bounds
