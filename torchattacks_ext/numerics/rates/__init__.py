"""Tests of one failure rate, exact.

`binomial` and `evalues` are the evidence, `sequential` turns it into tables of integers, `rules`
says what every test must tell; `fixed`, `sprt` and `group` are tests beside the e-process of
`rules`, `splitting` that of very rare failures. `operating` is the exact law of any of them, `sil`
the bands.
"""
