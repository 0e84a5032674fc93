"""Which number does the published black-box algorithm give, and how far is it from the score?"""

from __future__ import annotations

import torch
from torch import Tensor

from .differences import Scores, ask, central_differences, check_images
from .directions import Directions


@torch.no_grad()
def srp_blackbox(
    scores: Scores,
    images: Tensor,
    ids: Tensor,
    *,
    seed: int = 0,
    n_directions: int = 100,
    h: float = 1e-3,
    max_rows: int = 256,
) -> Tensor:
    """The black-box number of arXiv:2606.04767, for reproduction: (N,) float64, >= 0, no logarithm.

    max over m unit directions v of sum_k p_k a_k^2, a = [log p(x + h v) - log p(x - h v)] / (2 h).
    h > 0 is the length of the step, and the pair may leave the box, as in the authors' code.

    **It is not lam.** A unit direction sees v^T F v, which is lam chi^2_1 / D for one large
    eigenvalue; the largest of m is about lam (2 ln m)/D (in the mean 7.7 lam / D for m = 100,
    where 2 ln m is 9.2), plus what the small eigenvalues add: .0026 of lam for a CIFAR image,
    and less for larger ones. sum_k p_k a_k^2 also rounds to 0 with a saturated softmax.
    Arguments and errors as for :func:`.sketch.sketch`. Cost: 2 m + 1 forward row-passes an image.

    >>> x, w = torch.full((1, 2), 0.5).double(), torch.tensor([[1.0, -1.0], [0.0, 0.0]]).double()
    >>> lam = srp_blackbox(lambda x: x @ w, x, torch.tensor([0]))
    >>> round(lam.item(), 2)  # p = (.73, .27), lam = 4 p_0 p_1: in the plane m = 100 is enough
    0.79
    """
    check_images(images, ids)

    def log_probs(x: Tensor) -> Tensor:
        return ask(scores, x).log_softmax(1)

    found = []
    for i in range(len(images)):
        x, name = images[i : i + 1], ids[i : i + 1].to(images.device)
        space = Directions(seed, name, "srp", x[0].numel(), x.dtype)
        v = space.unit_gaussian(0, n_directions)
        a = central_differences(log_probs, x, v, h, bounds=None, max_rows=max_rows)
        p = log_probs(x).exp()
        found.append((p.unsqueeze(1) * a.square()).sum(2).amax(1))
    return torch.cat(found)
