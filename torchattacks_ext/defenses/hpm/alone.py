"""What does a row get among clean companions? Its own, with two prototypes corrected.

Of m clean rows the sums S_k and numbers N_k of each class are known. Where row i is replaced, it
leaves the class that it had been assigned to and joins the one that it is assigned to now; the
other prototypes stay. So its answer costs one row of the trunk, not m (with soft assignments all
prototypes move a little: K corrections a row, still one row of the trunk).
"""

from __future__ import annotations

import torch
from torch import Tensor

from .head import HPMHead
from .prototypes import assignments, weighted_means


class Alone:
    """Answers of an HPM head for single replaced rows of a clean batch.

    Arguments:
        head (HPMHead): the head.
        clean (Tensor): features (m, d) of the clean batch.

    Call with features (r, d) and their places (r,): row j of the answer (r, K) is row places[j] of
    ``head(clean with features[j] at places[j])``, up to rounding. Companions are constants; the
    gradient flows through the row, also as a part of its prototype, but not through the choice of
    the class (of which "ste" would have the softmax's). Sums are float64, where the device has it.

    >>> from .settings import HPMSettings
    >>> head = HPMHead(torch.nn.Linear(2, 3), HPMSettings(mixer="convex"))
    >>> head.set_prototypes(torch.eye(3, 2))
    >>> z = torch.rand(4, 2)
    >>> own = Alone(head, z)(z[1:2], torch.tensor([1]))
    >>> torch.allclose(own, head(z)[1:2], atol=1e-5)
    True
    """

    def __init__(self, head: HPMHead, clean: Tensor) -> None:
        self.head, self.kind = head, head.settings.assign
        with torch.no_grad():
            z = head.wide(clean.detach())
            exact = z.dtype if z.device.type == "mps" else torch.float64
            self.clean = z.to(exact)
            if self.kind == "none":
                return
            self.weights = assignments(head.fc_logits(z), self.kind).to(exact)
            self.sums = self.weights.T @ self.clean
            self.mass = self.weights.sum(0)

    def __call__(self, features: Tensor, places: Tensor) -> Tensor:
        """Logits (r, K)."""
        head, z = self.head, self.head.wide(features)
        if self.kind == "none":
            found: Tensor = head(features)
            return found
        with torch.autocast(z.device.type, enabled=False):
            weights = assignments(head.fc_logits(z), self.kind)
            if self.kind == "soft":
                return self._all_columns(z, weights, places)
            return self._two_columns(z, weights.detach().argmax(1), places)

    def _all_columns(self, z: Tensor, weights: Tensor, places: Tensor) -> Tensor:
        now, before = weights.to(self.clean).unsqueeze(2), self.weights[places]
        left = before.unsqueeze(2) * self.clean[places].unsqueeze(1)
        sums = self.sums - left + now * z.to(self.clean).unsqueeze(1)
        mass = self.mass - before + now.squeeze(2)
        batch = weighted_means(sums, mass, self.head.filling(sums))
        return self.head.compare(z, self.head.mix(batch.to(z)))

    def _two_columns(self, z: Tensor, now: Tensor, places: Tensor) -> Tensor:
        head, before = self.head, self.weights[places].argmax(1)
        filling = head.filling(self.clean)
        batch = _means(self.sums, self.mass, filling)
        logits = head.compare(z, head.mix(batch.to(z)))
        columns = torch.stack([before, now], 1)
        leaves = (columns == before.unsqueeze(1)).to(self.clean)
        joins = (columns == now.unsqueeze(1)).to(self.clean)
        own, was = z.to(self.clean).unsqueeze(1), self.clean[places].unsqueeze(1)
        moved = joins.unsqueeze(2) * own - leaves.unsqueeze(2) * was
        mass = self.mass[columns] - leaves + joins
        filled = None if filling is None else filling[columns]
        batch = _means(self.sums[columns] + moved, mass, filled)
        two = head.compare(z, head.mix(batch.to(z), columns))
        # one after the other: where both are one class, the gradient must come once
        logits = logits.scatter(1, columns[:, :1], two[:, :1])
        return logits.scatter(1, columns[:, 1:], two[:, 1:])


def _means(sums: Tensor, mass: Tensor, filling: Tensor | None) -> Tensor:
    """As the head's; what is left of a sum of no rows is rounding, and zero there."""
    empty = torch.zeros_like(sums) if filling is None else filling
    return weighted_means(sums, mass, empty)
