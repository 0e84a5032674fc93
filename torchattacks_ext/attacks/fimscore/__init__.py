"""The sensitivity score.

`fimscore` is the class, `settings` its arguments, `view` how it sees the model. `scoring` scores a
batch (`smooth`: its mean over noise; `scored`: what either finds), `blackbox` one that shows scores
only, `rows` is what comes out and `flags` what to doubt; `step` is the call, `audit` and
`temperature` are its further verbs, `references` its sources.
"""

from .fimscore import FIMScore as FIMScore
