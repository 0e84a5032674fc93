"""Does the table take rules of others, for the classes they are meant for, and refuse the rest?"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from torchattacks_ext.errors import ConfigError, ModelContractError
from torchattacks_ext.models.lipschitz import Bound, Place, bound_net, register_rule


class Cubes(nn.Module):
    """Something that no rule knows, and torch.fx cannot look into."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Depends on values."""
        return x**3 if bool(x.sum() > 0) else x


def test_an_unknown_module_is_named_with_the_remedy() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.ReLU(), Cubes())).eval()
    with pytest.raises(ModelContractError, match="'1.1' .Cubes.*register_rule"):
        bound_net(net, (3,))


def test_an_unknown_function_is_named_with_the_remedy() -> None:
    class Powers(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.pow(x, 3)

    with pytest.raises(ModelContractError, match="'pow' has no Lipschitz rule"):
        bound_net(Powers().eval(), (3,))


def test_a_rule_gets_the_module_and_its_place() -> None:
    class Mine(Cubes):
        pass

    seen: list[tuple[Any, Place]] = []

    def rule(module: Mine, place: Place) -> Bound:
        seen.append((module, place))
        return Bound(5.0, how="mine")

    register_rule(Mine, rule)
    net = nn.Sequential(nn.Conv2d(1, 2, 3), Mine()).eval()
    found = bound_net(net, (1, 6, 6))
    (module, place), line = seen[0], found.layers[-1]
    assert module is net[1] and place.shape == place.out == (2, 4, 4)
    assert place.point is None and place.n_inputs == 1
    assert (line.name, line.kind, line.value, line.how) == ("1", "Mine", 5.0, "mine")
    point = torch.rand(1, 6, 6)
    bound_net(net, (1, 6, 6), point=point)
    assert seen[1][1].point is not None
    assert torch.allclose(seen[1][1].point.float(), net[0](point[None]))


def test_a_rule_at_a_point_makes_the_whole_bound_one_at_a_point() -> None:
    class Local(Cubes):
        pass

    register_rule(Local, lambda module, place: Bound(2.0, "point"))
    net = nn.Sequential(nn.Linear(2, 2), Local(), nn.ReLU()).eval()
    assert bound_net(net, (2,), point=torch.ones(2)).scope == "point"


def test_a_rule_holds_for_heirs_that_keep_the_forward_and_by_name() -> None:
    class Base(Cubes):
        pass

    class Heir(Base):
        pass

    class Other(Base):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return -super().forward(x)

    register_rule(
        f"{Base.__module__}.{Base.__qualname__}", lambda module, place: Bound(3.0)
    )
    assert bound_net(Heir().eval(), (2,)).value == pytest.approx(3)
    with pytest.raises(ModelContractError, match="Other"):
        bound_net(Other().eval(), (2,))


def test_several_inputs_are_taken_side_by_side() -> None:
    class Both(nn.Module):
        def forward(
            self, x: torch.Tensor, y: torch.Tensor, scale: float = 1.0
        ) -> torch.Tensor:
            return torch.maximum(x, y) if bool(x.sum() > y.sum()) else x

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.both, self.left = Both(), nn.Linear(2, 2, bias=False)
            self.left.weight.data.copy_(3 * torch.eye(2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.both(self.left(x), 4 * x, scale=2.0)

    seen: list[Place] = []

    def rule(module: Both, place: Place) -> Bound:
        seen.append(place)
        return Bound(1.0)

    register_rule(Both, rule)
    assert bound_net(Net().eval(), (2,)).value == pytest.approx(5)
    assert seen[0].n_inputs == 2 and seen[0].constants == {"scale": 2.0}


@pytest.mark.parametrize("key", [int, "Linear", 3, nn.ReLU()])
def test_a_key_that_is_no_module_class_is_refused(key: Any) -> None:
    with pytest.raises(ConfigError):
        register_rule(key, lambda module, place: Bound(1.0))


def test_a_rule_that_cannot_be_called_is_refused() -> None:
    with pytest.raises(ConfigError):
        register_rule(nn.Bilinear, 3)  # type: ignore[arg-type]


def test_tensors_in_a_list_are_refused_in_words() -> None:
    class Listed(nn.Module):
        def forward(self, xs: list[torch.Tensor]) -> torch.Tensor:
            return xs[0] if bool(xs[0].sum() > 0) else xs[0]

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.listed = Listed()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.listed([x])

    register_rule(Listed, lambda module, place: Bound(1.0))
    with pytest.raises(ModelContractError, match="in a list"):
        bound_net(Net().eval(), (2,))
