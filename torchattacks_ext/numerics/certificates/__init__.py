"""What certificates are computed from: norms of weights and radii of mixtures, rounded outwards.

`rounding` says how a number is moved to the safe side; `matrices` bounds spectral norms, and
`convolutions` and `operators` those of linear maps that are too large, or not given, as a matrix.
`softmax` bounds its own part of the Fisher information, `attention` what self-attention does at one
input.
"""
