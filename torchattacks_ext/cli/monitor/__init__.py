"""The commands about images that come later: `monitor fit`, `check` and `stream`."""
