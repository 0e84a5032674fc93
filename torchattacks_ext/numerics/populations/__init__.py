"""Claims about many images.

`bounds` of counts and shares, `means` of rows, `mce` beside a baseline, `multiplicity` of claims.
"""
