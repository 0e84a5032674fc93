"""What does a model show before any attack? Traits, answers and gradients, each looked at apart.

`traits`: does it answer each image by itself, and the same way again? `answers`: are its scores on
a grid, and does a tiny step move them? `gradients`: which losses have a gradient to follow?
"""

from .traits import ModelTraits as ModelTraits
from .traits import differ as differ
from .traits import inspect_model as inspect_model
from .traits import look_cost as look_cost
from .traits import parameter_version as parameter_version
from .traits import random_look_cost as random_look_cost
