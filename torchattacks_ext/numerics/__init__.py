"""Which numbers are computed, and with what guarantee? Pure maths: no model, no attack, no file.

A folder a topic: `rates` (tests of one failure rate), `populations` (claims about many images),
`fisher` (the input Fisher information), `correlation` (of scores with outcomes). At the root what
they share: `norms`, `losses`, `ids`, random numbers as functions (`streams`, `gaussian`,
`resampling`), `incbeta`, `quantise` and checks of `arguments`.
"""
