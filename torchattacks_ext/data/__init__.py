"""Data: what comes through the door, and in which batches.

`door` says what an image and a label must be, `stream` makes checked batches with ids of anything
that a caller may hand over. `named` loads a data set by its name: each of `digits`, `npz` and
`folder` reads one kind into what `labelled` describes.
"""

from .stream import Batch as Batch
from .stream import Stream as Stream
