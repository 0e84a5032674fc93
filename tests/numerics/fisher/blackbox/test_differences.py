"""Do the pairs stay in the box, 2 h v apart, on grey levels where asked?"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from torchattacks_ext.errors import ConfigError, InputError, ModelContractError
from torchattacks_ext.numerics.fisher.blackbox.differences import (
    ask,
    central_differences,
    check_images,
)
from torchattacks_ext.numerics.fisher.blackbox.directions import Directions

SLOPES = torch.linspace(-2, 3, 36, dtype=torch.float64).view(12, 3)


def linear(x: Tensor) -> Tensor:
    return x.flatten(1) @ SLOPES.to(x)


def border_images(dtype: torch.dtype = torch.float64) -> Tensor:
    """Black, white and grey pixels, some a tiny step away from the border."""
    row = [0.0, 1.0, 0.5, 1e-5, 1 - 1e-5, 0.25] * 2
    return torch.tensor([row, row[::-1]], dtype=dtype).view(2, 3, 2, 2)


@pytest.mark.parametrize("n", [1, 5])
@pytest.mark.parametrize("max_rows", [1, 2, 7, 256])
def test_a_linear_function_has_its_slopes_even_at_the_border(
    n: int, max_rows: int
) -> None:
    x = border_images()
    v = Directions(0, torch.arange(2), "test", 12, torch.float64).orthonormal(0, n)
    found = central_differences(linear, x, v, 1e-3, max_rows=max_rows)
    torch.testing.assert_close(found, v @ SLOPES, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bounds", [(0.0, 1.0), (torch.zeros(3), torch.ones(3))])
def test_no_query_leaves_the_box(
    dtype: torch.dtype, bounds: tuple[Tensor, Tensor]
) -> None:
    seen = []

    def spy(x: Tensor) -> Tensor:
        seen.append(x.clone())
        return linear(x)

    x = border_images(dtype)
    v = Directions(0, torch.arange(2), "test", 12, dtype).orthonormal(0, 12)
    central_differences(spy, x, v, 0.02, bounds=bounds)
    asked = torch.cat(seen)
    assert 0 <= float(asked.min()) and float(asked.max()) <= 1
    assert asked.dtype == dtype and asked.shape[1:] == x.shape[1:]
    # The pair never moves by more than h |v| to its centre and h |v| along.
    assert float((asked[:12] - x[0]).abs().amax()) <= 2 * 0.02 * float(v.abs().max())


def test_without_a_box_the_pair_is_symmetric() -> None:
    x, v = torch.zeros(1, 2).double(), torch.ones(1, 1, 2).double()
    found = central_differences(lambda x: x**3, x, v, 0.1, bounds=None)
    torch.testing.assert_close(found, torch.full((1, 1, 2), 0.01).double())


def test_grey_queries_are_whole_grey_levels_in_the_box() -> None:
    levels = torch.tensor([[0, 255, 128, 1, 254, 77, 0, 0, 3, 255, 2, 9]])
    x, seen = (levels / 255).view(1, 3, 2, 2), []

    def spy(x: Tensor) -> Tensor:
        seen.append(x.clone())
        return linear(x.double())

    v = Directions(0, torch.tensor([4]), "test", 12).signs(0, 20)
    for step in (1, 2):
        found = central_differences(spy, x, v, 9.0, grey_levels=step)
        torch.testing.assert_close(found, v.double() @ SLOPES, rtol=0, atol=1e-4)
    asked = torch.cat(seen)
    whole = (asked * 255).round()
    assert torch.equal(whole / 255, asked) and 0 <= asked.min() and asked.max() <= 1
    assert float((whole[:40].flatten(1) - levels).abs().max()) == 2


def test_wrong_arguments_are_refused() -> None:
    x, v = torch.zeros(2, 12), torch.zeros(2, 1, 12)
    with pytest.raises(ConfigError, match="must be > 0"):
        central_differences(linear, x, v, 0.0)
    with pytest.raises(InputError, match=r"expected \(N, n, D\)"):
        central_differences(linear, x, v[:, :, :5], 1e-3)
    with pytest.raises(InputError, match="float32 or float64"):
        check_images(x.half(), torch.arange(2))
    with pytest.raises(InputError, match="one each"):
        check_images(x, torch.arange(3))
    with pytest.raises(ModelContractError, match="0 and z"):
        ask(lambda x: x[:, :1], x)
    with pytest.raises(ModelContractError, match="labels alone"):
        ask(lambda x: x.long(), x)
