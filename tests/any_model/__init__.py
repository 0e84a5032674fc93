"""Models as teams have them, and what is tried on each: kinds x inputs x verbs, case by number.

Read `kind`, then the kinds by topic (`writing`, `graphs`, `answers`, `gradients`), `inputs` and
`verbs`; `cases` draws and judges. `python tests/any_model 17 203` runs cases by hand.
"""
