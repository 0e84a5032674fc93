"""What do noisy copies of an image prove? Randomised smoothing, of votes and of latents.

`settings`: what is asked; `noise`: the copies and the answers to them; `certifier`: what both kinds
share; then `randomized` (Cohen et al. 2019) and `latent` (an encoder with a Gaussian head).
"""

from .latent import SmoothedEllips as SmoothedEllips
from .randomized import RandomizedSmoothing as RandomizedSmoothing
