"""The same eigenvalue from scores alone.

`sketch` is the estimate: along `directions`, by `differences`, with the interval of `judge` on
`jackknife`. `srp` is the published algorithm, for reproduction.
"""
