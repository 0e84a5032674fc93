"""Data sets by name, a file a source: each reads one kind into what `labelled` describes.

`..named` chooses among them by what `ask` has read of the name. Files: `folder`, `npz`; published
sets: `vision` (torchvision), `medmnist`, `hub` with its `columns`; `foreign`: objects of a user's.
`pixels` and `pictures` say what an image file holds, `classes` turns labels into a model's numbers.
"""
