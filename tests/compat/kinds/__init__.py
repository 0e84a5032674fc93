"""Kinds of models that teams really have, each beside a plain module with the same numbers.

Read `case` (what a kind is), `verbs` (what is asked of it), then the kinds themselves: `written`,
`shapes`, `numbers`, `layers`, `graphs`, `shared`, `vision`, `libraries`, `refused`. `every` knows
all of them. Packages are imported only where a kind is built.
"""
