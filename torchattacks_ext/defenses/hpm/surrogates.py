"""What stands in for an HPM head while it is attacked? Heads of the same trunk, one cause each.

| name | forward | why |
|---|---|---|
| fc | the linear head | smooth; the assignment hangs on it (the paper's surrogate 1) |
| soft, soft-0.3, soft-3 | softmax(L / t) instead of one-hot | no jumps (the paper's 2: t = 1) |
| ste | the head with the straight-through gradient | the defence as it is |
| dset | C_batch := C_glob | smooth, and no row depends on another |
| fixed | C_hyb of the clean batch, a constant | right gradient for one image alone |
| gmsa | C_hyb of the attacked batch, a constant renewed every 10 queries | transductive attack |
| mix | mean of the log-probabilities of the others | one run against all heads |
| bpda(s) | the value of the target, the gradient of s | an attack's books are the target's |
| oracle | C_batch by the true labels | what the assignment contributes |
| others | C_batch of the other rows | no row is a part of its own prototype |

Sources: arXiv:2606.01746, sec. 3.7 (fc, soft); Chen et al., arXiv:2110.14735 (gmsa); Athalye et al.
2018 (bpda). The others are ours.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from ...errors import ConfigError, StateError
from ...models.adapters.bpda import BPDA
from ...models.adapters.shared_trunk import HeadView
from .head import HPMHead
from .others import Others
from .settings import Assign

PAPER = ("fc", "soft")
"""The paper's surrogates, for MSA's version "paper"."""
STANDARD = ("fixed", "bpda(dset)", "dset", "soft", "fc")
"""The order in which they are attacked; "ste" is the target itself."""
SINGLE = (
    *("fc", "soft", "soft-0.3", "soft-3", "ste", "dset", "fixed", "gmsa", "mix"),
    *("oracle", "others"),
)
MIXED = ("fc", "soft", "dset", "fixed")
"""What "mix" averages."""
EVERY = 10
"""Queries between two prototypes of "gmsa": 100 steps are 10 rounds."""


class LinearOnly(nn.Module):
    """The linear head alone: features (N, d) to L (N, K). head: the HPMHead that holds it."""

    def __init__(self, head: HPMHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, features: Tensor) -> Tensor:
        """Logits (N, K)."""
        return self.head.fc_logits(self.head.wide(features))


class Assigned(nn.Module):
    """The head with another assignment. kind: "soft", "ste" or "none"; tau: of the softmax."""

    def __init__(self, head: HPMHead, kind: Assign, tau: float = 1.0) -> None:
        super().__init__()
        self.head, self.kind, self.tau = head, kind, tau

    def forward(self, features: Tensor) -> Tensor:
        """Logits (N, K)."""
        z = self.head.wide(features)
        return self.head.compare(z, self.head.mixed(z, self.kind, self.tau))


class Frozen(nn.Module):
    """The head with C_hyb held constant. every: queries after which it is taken anew; 0: never.

    Taken is that of the batch last met, with hard assignments. Raises StateError before any was.
    """

    def __init__(self, head: HPMHead, every: int = 0) -> None:
        super().__init__()
        self.head, self.every = head, every
        self.mixed: Tensor | None = None
        self.rows, self.queries = 0, 0

    def meet(self, features: Tensor, labels: Tensor) -> None:
        """The clean batch, features (m, d): before it is attacked."""
        self.rows, self.queries = len(features), 0
        self._take(self.head.wide(features.detach()))

    def _take(self, z: Tensor) -> None:
        kind: Assign = "none" if self.head.settings.assign == "none" else "hard"
        with torch.no_grad():
            self.mixed = self.head.mixed(z, kind)

    def forward(self, features: Tensor) -> Tensor:
        """Logits (N, K); the gradient flows through each row alone."""
        z = self.head.wide(features)
        if self.mixed is None:
            raise StateError(
                "this surrogate holds the prototypes of a clean batch and has met none: MSA shows "
                "it each batch; elsewhere call meet(images, labels) first"
            )
        if self.every and len(z) == self.rows:
            if self.queries and self.queries % self.every == 0:
                self._take(z.detach())
            self.queries += 1
        return self.head.compare(z, self.mixed)


class Oracle(nn.Module):
    """The head with the rows assigned by their true labels, as they were met.

    A query with another number of rows gets the prototypes of the batch last met.
    """

    def __init__(self, head: HPMHead) -> None:
        super().__init__()
        self.head = head
        self.weights: Tensor | None = None
        self.mixed: Tensor | None = None

    def meet(self, features: Tensor, labels: Tensor) -> None:
        """The clean batch (m, d) with its labels (m,)."""
        z = self.head.wide(features.detach())
        hot = nn.functional.one_hot(labels.to(z.device), self.head.n_classes)
        self.weights = hot.to(z.dtype)
        with torch.no_grad():
            self.mixed = self.head.mixed_by(z, self.weights)

    def forward(self, features: Tensor) -> Tensor:
        """Logits (N, K)."""
        z = self.head.wide(features)
        if self.weights is None or self.mixed is None:
            raise StateError(
                "the oracle has met no batch with labels: MSA shows it each; elsewhere call "
                "meet(images, labels) first"
            )
        own = len(z) == len(self.weights)
        mixed = self.head.mixed_by(z, self.weights) if own else self.mixed
        return self.head.compare(z, mixed)


class Mean(nn.Module):
    """Mean of log-softmax of several heads, each row's logits brought to mean 0 and deviation 1."""

    def __init__(self, heads: Iterable[nn.Module]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)

    def forward(self, features: Tensor) -> Tensor:
        """Log-probabilities (N, K), up to their mean not being normalised."""
        return torch.stack([_standard(head(features)) for head in self.heads]).mean(0)


def _standard(logits: Tensor) -> Tensor:
    spread = logits.detach().std(1, keepdim=True, correction=0).clamp_min(1e-12)
    return ((logits - logits.mean(1, keepdim=True)) / spread).log_softmax(1)


def make_surrogate(head: HPMHead, kind: str) -> nn.Module:
    """Features (N, d) to logits (N, K), by a name of the table above.

    Raises ConfigError for an unknown name, and for "dset" where the head has no C_glob.

    >>> from .settings import HPMSettings
    >>> head = HPMHead(nn.Linear(2, 3))
    >>> head.set_prototypes(torch.eye(3, 2))
    >>> make_surrogate(head, "bpda(dset)")(torch.zeros(1, 2)).shape
    torch.Size([1, 3])
    """
    inner = re.fullmatch(r"bpda\((.+)\)", kind)
    if inner is not None and inner[1] in SINGLE and inner[1] != "ste":
        return BPDA(head, make_surrogate(head, inner[1]))
    if kind not in SINGLE:
        raise ConfigError(
            f"{kind!r} is no surrogate of HPM; there are {SINGLE}, and 'bpda(...)' of each but ste"
        )
    if kind == "dset":
        head.of_data(head.of_all)  # refuses a head without
    if kind == "mix":
        return Mean(make_surrogate(head, one) for one in available(head, MIXED))
    return _simple(head, kind)


def _simple(head: HPMHead, kind: str) -> nn.Module:
    if kind.startswith("soft"):
        return Assigned(head, "soft", float(kind.partition("-")[2] or 1))
    makers: dict[str, Callable[[], nn.Module]] = {
        "fc": lambda: LinearOnly(head),
        "ste": lambda: Assigned(head, "ste"),
        "dset": lambda: Assigned(head, "none"),
        "fixed": lambda: Frozen(head),
        "gmsa": lambda: Frozen(head, EVERY),
        "oracle": lambda: Oracle(head),
        "others": lambda: Others(head),
    }
    return makers[kind]()


def available(head: HPMHead, kinds: Iterable[str]) -> tuple[str, ...]:
    """Those of the kinds that this head has a use for: without C_glob there is no "dset".

    >>> from .settings import HPMSettings
    >>> bare = HPMSettings(use_global=False, empty="zero")
    >>> available(HPMHead(nn.Linear(2, 3), bare), STANDARD)
    ('fixed', 'soft', 'fc')
    """
    return tuple(k for k in kinds if head.settings.use_global or "dset" not in k)


class MeetingView(HeadView):
    """A head of a shared trunk that wants to see each batch, clean, before it is attacked."""

    def meet(self, images: Tensor, labels: Tensor) -> None:
        """Images (m, ...) as the model takes them, labels (m,). m row-passes of the trunk."""
        with torch.no_grad():
            features = self.shared.features(images)
        head = self.shared.heads[self.shared.names.index(self.name)]
        for part in head.modules():
            if isinstance(part, (Frozen, Oracle)):
                part.meet(features, labels)


def wants_to_meet(head: nn.Module) -> bool:
    """Whether some part of a surrogate holds what it learns from the clean batch.

    >>> wants_to_meet(Mean([nn.Identity()])), wants_to_meet(Oracle(HPMHead(nn.Linear(2, 2))))
    (False, True)
    """
    return any(isinstance(part, (Frozen, Oracle)) for part in head.modules())
