"""Data sets by name, a file a source: each reads one kind into what `labelled` describes.

`folder`, `npz`: files; `pixels`: what an image file holds. `..named` chooses among them.
"""
