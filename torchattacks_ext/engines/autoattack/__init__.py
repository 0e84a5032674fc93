"""AutoAttack's own components as an engine.

`upstream` is the only door to its packages; `components` runs one part of it, `runs` one line of a
plan (`stacked`: several targets as one batch), `sequence` the protocol of its authors, and `starts`
says where a run begins.
"""
