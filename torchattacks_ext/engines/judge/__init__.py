"""Who decides: no attack grades itself.

`active` packs rows into full batches and judges them, `ledger` keeps what each source broke,
`harvest` offers every query on the way of an attack, `watch` says on a bar what an engine is at,
`screen` decides for targets that answer at random.
"""
