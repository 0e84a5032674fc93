"""How do the bounds of layers become one of a net? `tracing`, then `steps`, `functions`, `walk`.

`writes` watches what is overwritten, `last` takes the last linear layer apart.
"""
