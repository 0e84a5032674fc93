"""What happens to a picture before a published model sees it? Read, tried, and put into the model.

`facts` says it in numbers, `probe` finds them with pictures of one colour, `read` asks the packages
(torchvision, timm, transformers) for their own transform, `pixels` wraps the model accordingly.
"""

from .facts import Preprocessing as Preprocessing
from .pixels import on_pixels as on_pixels
from .probe import probed as probed
