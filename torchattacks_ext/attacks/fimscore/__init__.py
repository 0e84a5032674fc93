"""The sensitivity score.

`fimscore` is the class, `settings` its arguments. `scoring` scores a batch (`smooth`: its mean over
noise), `blackbox` one that shows scores only, `rows` is what comes out and `flags` what to doubt;
`step` is the call, `audit` and `temperature` are its further verbs.
"""

from .fimscore import FIMScore as FIMScore
