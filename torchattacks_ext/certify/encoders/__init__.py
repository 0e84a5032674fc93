"""Encoders that can be certified: networks of norm 1, and how they learn.

`networks`: small orthogonal ones. `training`: on the distances that will be certified;
`gaussians` is the head as parameters, `orthogonal` keeps the layers at norm 1, `keeping` writes
what an interrupted training needs.
"""

from .networks import orthogonal_cnn as orthogonal_cnn
from .networks import orthogonal_mlp as orthogonal_mlp
from .training import Trained as Trained
from .training import train_encoder as train_encoder
