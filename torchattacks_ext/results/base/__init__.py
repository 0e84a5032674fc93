"""What every family of results is made of.

`result` is the base class on `columns`; `codec` makes it JSON and back (`unknown` keeps what a
newer version wrote), `frames` tables of it, `sidecar` keeps images beside it; `facts` are costs,
flags and versions, `groups` and `words` what they say.
"""
