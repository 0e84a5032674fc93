"""Targets whose answer depends on the batch: an attacker who controls all of it.

`ledgers` judge by the protocols, `runs` drive a line of a plan with no row dropped, `ascent` drives
chosen rows wrong by all rows, `realised` composes one batch with as many wrong rows as it can.
"""
