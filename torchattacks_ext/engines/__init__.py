"""How are attacks that others wrote driven, and who judges what they find?

Begin with `judge`: an attack only offers candidates, the ledger decides. `autoattack` drives
AutoAttack's components, `zoo` those of torchattacks, `joint` both kinds of question to a target
whose answers depend on the batch. `fork` keeps the victim's random numbers apart from the attack's;
`particles` moves a population of draws towards a rare failure.
"""
