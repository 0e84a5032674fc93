"""How well does a score tell two kinds of images apart? `ranking`, then `intervals` of it."""
