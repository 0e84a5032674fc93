"""Data: what comes through the door, and in which batches.

`door` says what an image and a label must be, `stream` makes checked batches with ids of anything
that a caller may hand over. `named` loads a data set by its name, a file a source in `loaders`.
"""

from .stream import Batch as Batch
from .stream import Stream as Stream
