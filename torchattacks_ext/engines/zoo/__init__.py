"""torchattacks as an engine.

`attack` runs one attack of the zoo on one batch without its side effects; `components` builds those
that AutoAttack has too at its settings, `runs` and `sequence` drive them as their namesakes in
:mod:`torchattacks_ext.engines.autoattack`.
"""
