"""What every family of results is made of.

Begin with `result`, the base class: `columns` declares what a row holds, `facts` what stands beside
the rows (cost, flags, versions), `groups` and `sidecar` what goes with them (names, kept images).
`codec` makes JSON of all that and back, `unknown` keeps what a newer version wrote, `document` is
the text or file of any of them. `frames` and `words` show a result as a table or a line; `shares`
are shares of its rows, with their intervals.
"""
