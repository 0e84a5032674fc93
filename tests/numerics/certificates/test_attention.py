"""Is the bound of attention at a point above the norm of its dense Jacobian, always?"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from torchattacks_ext.errors import InputError
from torchattacks_ext.numerics.certificates.attention import (
    Heads,
    attention_bound,
    layer_norm_bound,
    schatten,
)


def attend(x: Tensor, heads: Heads) -> Tensor:
    """Self-attention by its definition, (n, D) -> (n, D_out)."""
    outs = []
    for h in range(len(heads.query)):
        q = x @ heads.query[h] + heads.query_bias[h]
        scores = q @ (x @ heads.key[h]).T / math.sqrt(q.shape[1])
        outs.append(scores.softmax(1) @ (x @ heads.value[h]))
    return torch.cat(outs, 1) @ heads.out


def dense_norm(function: Callable[[Tensor], Tensor], x: Tensor) -> float:
    """The spectral norm of a Jacobian, by a vjp an output."""
    jacobian = torch.autograd.functional.jacobian(function, x)
    return float(torch.linalg.matrix_norm(jacobian.reshape(-1, x.numel()), 2))


def dense_attention_norm(x: Tensor, heads: Heads) -> float:
    return dense_norm(lambda x: attend(x, heads), x)


def naive_attention_bound(x: Tensor, heads: Heads, query_bias: bool = True) -> float:
    """With the covariance S_i of tokens and c = the largest column sum of P, head by head:

    |W_V| (|A| max |S_i| + sqrt(c) (max |r_i| |S_i|^1/2 + 1)).
    """
    total = 0.0
    for h in range(len(heads.query)):
        d = heads.query.shape[2]
        q = x @ heads.query[h] + heads.query_bias[h]
        r = q @ heads.key[h].T / math.sqrt(d)
        p = (r @ x.T).softmax(1)
        if not query_bias:
            r = x @ heads.query[h] @ heads.key[h].T / math.sqrt(d)
        gaps = x - (p @ x).unsqueeze(1)  # (n, n, D): x_j - mean under P_i
        s = torch.linalg.matrix_norm(torch.einsum("ij,ija,ijb->iab", p, gaps, gaps), 2)
        a = heads.query[h] @ heads.key[h].T / math.sqrt(d)
        moved = (r.norm(dim=1) * s.sqrt()).max() + 1
        whole = torch.linalg.matrix_norm(a, 2) * s.max() + p.sum(0).max().sqrt() * moved
        total += float(torch.linalg.matrix_norm(heads.value[h], 2) * whole) ** 2
    return math.sqrt(total) * float(torch.linalg.matrix_norm(heads.out, 2))


def case(number: int) -> tuple[Tensor, Heads]:
    """Random shapes, scales and biases of queries, fixed by their number."""
    generator = torch.Generator().manual_seed(number)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    n, width, d, h = (
        1 + int(torch.randint(m, (), generator=generator)) for m in (8, 8, 5, 3)
    )
    scale, bias = (0.1, 0.3, 1.0, 3.0)[number % 4], (0.0, 3.0, 10.0)[number % 3]
    heads = Heads(
        scale * normal(h, width, d),
        scale * normal(h, width, d),
        normal(h, width, d),
        bias * normal(h, d),
        normal(h * d, width),
    )
    return (0.3, 1.0, 3.0)[number % 3] * normal(n, width), heads


def check_cases(numbers: range) -> None:
    for number in numbers:
        x, heads = case(number)
        truth, found = dense_attention_norm(x, heads), attention_bound(x, heads)
        assert found >= truth, number
        assert found <= naive_attention_bound(x, heads) * (1 + 1e-2), number


def test_the_bound_is_above_the_dense_jacobian() -> None:
    check_cases(range(48))


@pytest.mark.slow
def test_the_bound_is_above_the_dense_jacobian_of_200_cases() -> None:
    check_cases(range(48, 248))


def test_without_the_queries_bias_the_bound_would_be_false() -> None:
    """The bias b_Q moves every score of a row; a bound that drops it breaks."""
    eye = torch.eye(2, dtype=torch.float64)[None]
    bias = torch.tensor([[30.0, 0.0]], dtype=torch.float64)
    heads = Heads(0.01 * eye, eye, eye, bias, eye[0])
    x = torch.tensor([[0.1, 0.0], [0.1, 0.2], [0.0, 1.0]], dtype=torch.float64)
    truth = dense_attention_norm(x, heads)
    assert naive_attention_bound(x, heads, query_bias=False) < truth
    assert attention_bound(x, heads) >= truth


def test_the_bound_is_tight_where_all_tokens_are_equal() -> None:
    """Then y is the mean of the values: |W_V W_O| for one head, here of a diagonal form."""
    eye = torch.eye(3, dtype=torch.float64)[None]
    heads = Heads(eye, eye, 2 * eye, torch.ones(1, 3), 3 * eye[0])
    x = torch.full((5, 3), 0.7, dtype=torch.float64)
    assert attention_bound(x, heads) == pytest.approx(6.0, rel=2e-9)


@pytest.mark.parametrize("shape", [(7, 1, 1), (9, 4, 4), (5, 3, 6), (4, 8, 2)])
def test_schatten_bounds_the_spectral_norm_closely(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(3)
    matrices = torch.randn(*shape, generator=generator, dtype=torch.float64)
    matrices *= torch.logspace(-150, 150, shape[0], dtype=torch.float64)[:, None, None]
    ratio = schatten(matrices) / torch.linalg.matrix_norm(matrices, 2)
    assert ratio.min() >= 1 - 1e-12 and ratio.max() <= shape[2] ** (1 / 256) + 1e-12


def test_schatten_of_zero_is_nothing() -> None:
    assert schatten(torch.zeros(1, 3, 3, dtype=torch.float64)).item() < 1e-300


@pytest.mark.parametrize("shape, dims", [((5, 8), 1), ((3, 4, 6), 2), ((7, 2), 1)])
def test_layer_norm_at_a_point(shape: tuple[int, ...], dims: int) -> None:
    generator = torch.Generator().manual_seed(1)
    for _ in range(5):
        x = 0.1 * torch.randn(shape, generator=generator, dtype=torch.float64)
        layer = torch.nn.LayerNorm(shape[-dims:], dtype=torch.float64)
        layer.weight.data = torch.randn(shape[-dims:], generator=generator).double()
        truth = dense_norm(layer, x)
        found = layer_norm_bound(x, layer.weight, layer.eps, dims)
        assert truth <= found
        if (
            shape[-1] > 4
        ):  # two directions are forgotten: with few there is nothing left
            assert found <= 1.5 * truth


def test_layer_norm_without_deviation() -> None:
    flat = torch.ones(2, 3)
    assert layer_norm_bound(flat, None, 0.0) == math.inf
    assert layer_norm_bound(flat, torch.zeros(3), 0.0) == 0
    assert layer_norm_bound(flat, None, 1e-4) == pytest.approx(100)


def test_bad_input_is_refused() -> None:
    eye = torch.eye(2)[None]
    heads = Heads(eye, eye, eye, torch.zeros(1, 2), torch.eye(2))
    for tokens in (torch.zeros(3, 4), torch.zeros(2), torch.full((1, 2), torch.nan)):
        with pytest.raises(InputError, match="finite tokens"):
            attention_bound(tokens, heads)
    with pytest.raises(InputError, match=r"query, key, value"):
        Heads(eye, eye, eye, torch.zeros(2), torch.eye(2))
    with pytest.raises(InputError, match="finite inputs"):
        layer_norm_bound(torch.tensor([torch.inf, 0.0]), None, 1e-5)
