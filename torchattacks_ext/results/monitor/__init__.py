"""What is kept of a reference, and what does a look at new images say? `reference`, `alert`."""

from .alert import Alert as Alert
from .alert import DriftTest as DriftTest
from .alert import MovedFeature as MovedFeature
from .alert import Step as Step
from .reference import Reference as Reference
