"""Claims about many images.

`bounds` of counts and shares, `means` of rows, `mce` beside a baseline, `multiplicity` of claims.
Of a finite set of which a part was looked at: `finite` for one stratum, `strata` for several,
`anytime` at every moment; `planning` says how many to look at, `spending` looks.
"""
