"""How do the bounds of layers become one of a net? `ready`, `tracing`, `concrete`: the graph; then
`steps`, `functions`, `walk`: the bounds along it.

`writes` watches what is overwritten, `last` takes the last linear layer apart.
"""
