"""Does a batch, or a stream, come from where the reference came from? With stated false alarms.

`kernels`: one batch, the maximum mean discrepancy by permutations. `ranks`: one batch, feature by
feature. `martingale` and `bands`: a stream that is looked at for ever.
"""
