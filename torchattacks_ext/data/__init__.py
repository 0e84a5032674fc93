"""Data: what comes through the door, and in which batches."""

from .stream import Batch as Batch
from .stream import Stream as Stream
