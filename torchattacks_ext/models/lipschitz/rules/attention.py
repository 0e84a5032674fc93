"""How much do LayerNorm and softmax attention stretch, at one point? Neither has a bound anywhere.

Both are unbounded over all inputs (LayerNorm but for its eps), so that their rules need the point
that :func:`..net.bound_net` is told, and what rests on them has the scope "point".
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ....errors import ModelContractError
from ....numerics.certificates.attention import Heads, attention_bound, layer_norm_bound
from ..bound import Bound, Place, Rule
from .weights import weight_of


def layer_norm(module: nn.LayerNorm, place: Place) -> Bound:
    """max |gamma| / sqrt(var + eps) at the point."""
    point = _at(module, place, "divides by the spread of its own input")
    weight = None if module.weight is None else weight_of(module)
    dims = len(module.normalized_shape)
    value = layer_norm_bound(point, weight, module.eps, dims)
    return Bound(value, "point", "largest factor at the point")


def attention(module: nn.MultiheadAttention, place: Place) -> Bound:
    """Self-attention at the point, its output alone (not the weights that it may return)."""
    point = _at(module, place, "is softmax attention")
    if not _is_plain(module, place):
        raise ModelContractError(
            "MultiheadAttention has a bound as self-attention without masks, extra keys or other "
            "widths: call it as attention(x, x, x, need_weights=False)"
        )
    tokens = point if module.batch_first else point.transpose(0, 1)
    heads = heads_of(module)  # windows of one image may stand in the batch
    value = max(attention_bound(one, heads) for one in tokens)
    return Bound(value, "point", "attention at the point")


def _at(module: nn.Module, place: Place, why: str) -> Tensor:
    if place.point is None:
        raise ModelContractError(
            f"{type(module).__name__} {why}: it has no useful global bound, only one at a point; "
            "give point= (no certificate can rest on it)"
        )
    return place.point


def _is_plain(module: nn.MultiheadAttention, place: Place) -> bool:
    """Self-attention of one tensor, without anything that the formula has not."""
    extra = module.bias_k is not None or module.add_zero_attn
    told = {
        name: place.constants.get(name, place.constants.get(i, _ARGUMENTS[name]))
        for i, name in enumerate(_ARGUMENTS)
    }
    wanted = module.in_proj_weight is not None and told == _PLAIN
    return wanted and place.n_inputs == 1 and not extra


def heads_of(module: nn.MultiheadAttention) -> Heads:
    """Its weights head by head, in float64.

    >>> heads_of(nn.MultiheadAttention(8, 2)).query.shape
    torch.Size([2, 8, 4])
    """
    h, width = module.num_heads, module.embed_dim
    parts = weight_of(module, "in_proj_weight").reshape(3, h, -1, width).mT
    bias = torch.zeros(h, width // h, dtype=torch.float64)
    if module.in_proj_bias is not None:
        bias = weight_of(module, "in_proj_bias")[:width].reshape(h, -1)
    return Heads(parts[0], parts[1], parts[2], bias, weight_of(module.out_proj).T)


_ARGUMENTS: dict[str, Any] = {
    "query": None,
    "key": None,
    "value": None,
    "key_padding_mask": None,
    "need_weights": True,
    "attn_mask": None,
    "average_attn_weights": True,
    "is_causal": False,
}
"""Of the forward, in order, with what each is unless told; the first three are the tokens."""
_PLAIN = {**_ARGUMENTS, "need_weights": False}

RULES: dict[type | str, Rule] = {
    nn.LayerNorm: layer_norm,
    nn.MultiheadAttention: attention,
}
