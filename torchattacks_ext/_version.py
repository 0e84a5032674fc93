"""Which version is this? The one place that says it; setup.cfg reads it."""

__version__ = "0.1.0"
