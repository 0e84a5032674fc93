"""The test of probabilistic robustness.

`prtest` is the class, `settings` its arguments, `design` which test they mean. `admission` says
which images are tested, `walk` (draws) and `splitting` (particles) take them to verdicts, `rows` is
what comes out; `search` is the call.
"""

from .prtest import PRTest as PRTest
