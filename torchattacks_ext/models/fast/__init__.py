"""Which copy of a classifier do attacks run on, where the original is slow?

`accelerate` makes and checks it, `copied` is what it gives; `graph` reads which layers go together,
`folding` puts them together, `agreement` compares two models, `timing` and `processor` say what is
faster.
"""

from .accelerate import accelerate as accelerate
from .copied import FastModel as FastModel
