"""Encoders that can be certified: networks of norm 1, and how they learn.

`networks`: small orthogonal ones. `training`: on the distances that will be certified;
`gaussians` is the head as parameters, `orthogonal` keeps the layers at norm 1, `keeping` writes
what an interrupted training needs. The losses of the paper, for trainings of one's own, are those
of `numerics.latents`.
"""

from ...numerics.latents.losses import isotropy_loss as isotropy_loss
from ...numerics.latents.losses import mcr2_loss as mcr2_loss
from ...numerics.latents.losses import mmd_gaussian as mmd_gaussian
from ...numerics.latents.losses import mmd_rbf as mmd_rbf
from .networks import orthogonal_cnn as orthogonal_cnn
from .networks import orthogonal_mlp as orthogonal_mlp
from .training import Trained as Trained
from .training import train_encoder as train_encoder
