"""The commands about reports that are there: `compare` and `gate`."""
