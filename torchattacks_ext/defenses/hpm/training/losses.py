"""How far are two answers apart, so that both learn? KL taken apart, and improved (IKL).

Cui et al., "Decoupled Kullback-Leibler Divergence Loss", NeurIPS 2024 (arXiv:2305.13948). KL has
the gradients of a weighted squared error of the differences between logits, in the first argument,
and of a cross-entropy with soft labels, in the second. IKL lets the squared error act on both, and
takes its weights from the mean probabilities of the label's class, not of the sample.
"""

from __future__ import annotations

import torch
from torch import Tensor


def improved_kl(
    clean: Tensor,
    attacked: Tensor,
    weights: Tensor | None = None,
    both: bool = True,
    squares: float = 1.0,
    entropy: float = 1.0,
) -> Tensor:
    r"""IKL of each row: logits (N, K), (N, K) -> (N,).

    squares / 4 sum_jk w_j w_k (D_jk - E_jk)^2 - entropy sum_j s_j log t_j, with D_jk = o_j - o_k of
    the clean logits, E of the attacked ones, s = softmax(clean) and t = softmax(attacked); no
    gradient through w and s of the second term. weights w (N, K), rows sum to 1: of the label's
    class (IKL); None: s of the row itself. both=False: no gradient through E, the plain
    decoupling, whose gradients are those of KL(s || t). Computed as squares / 2 Var_w(o - o'), the
    same sum in O(K).

    >>> o, p = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 0.0]])
    >>> improved_kl(o, p, torch.tensor([[0.5, 0.5]]), entropy=0.0)
    tensor([0.1250])
    """
    share = clean.detach().softmax(1)
    w = share if weights is None else weights.detach()
    gap = clean - (attacked if both else attacked.detach())
    centred = gap - (w * gap).sum(1, keepdim=True)
    squared = (w * centred.square()).sum(1)
    crossed = -(share * attacked.log_softmax(1)).sum(1)
    return squares / 2 * squared + entropy * crossed


def class_means(
    table: Tensor, clean: Tensor, labels: Tensor, momentum: float = 0.9
) -> Tensor:
    """Mean probabilities of each class (K, K) after one more batch of clean logits (N, K).

    A running average a class; classes that are not in the batch stay.

    >>> class_means(torch.eye(2), torch.zeros(1, 2), torch.tensor([1]), 0.5).tolist()
    [[1.0, 0.0], [0.25, 0.75]]
    """
    hot = torch.nn.functional.one_hot(labels, len(table)).to(table)
    number = hot.sum(0).unsqueeze(1)
    mean = hot.T @ clean.detach().softmax(1).to(table) / number.clamp_min(1)
    moved = momentum * table + (1 - momentum) * mean
    return torch.where(number > 0, moved, table)
