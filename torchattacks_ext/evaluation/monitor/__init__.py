"""Have the images changed since the reference? `fit` once, then `check` batches or `look` at one
stream.

`how`: what is measured of an image; `features` and `measured`: one pass over images; `kept`: the
state of a stream on disk; `steps`: what to do after an alarm.
"""

from .check import check_batch as check_batch
from .fit import fit_reference as fit_reference
from .look import look_at_stream as look_at_stream
