"""Models: how they are borrowed, viewed, counted and checked."""

from .checks import ModelTraits as ModelTraits
from .checks import inspect_model as inspect_model
from .logits import LogitsView as LogitsView
from .meter import Budget as Budget
from .meter import Meter as Meter
from .normalised import NormalizedModel as NormalizedModel
from .session import session as session
