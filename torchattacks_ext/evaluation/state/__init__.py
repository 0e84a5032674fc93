"""What of a run survives its end? A folder with one line a finished row group.

Read `journal` first (the file), then `key` (whose run is it), `signals` (how a run is asked to
stop) and `shards` (which rows are whose).
"""
