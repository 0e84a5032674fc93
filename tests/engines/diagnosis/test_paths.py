"""Do traces say of a path what its numbers say?"""

from __future__ import annotations

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from torchattacks_ext.engines.diagnosis.before import one_step
from torchattacks_ext.engines.diagnosis.paths import Path, Traced
from torchattacks_ext.engines.diagnosis.settings import DiagnosisSettings
from torchattacks_ext.errors import ConfigError
from torchattacks_ext.numerics.norms import norm_of

NUMBERS = torch.randn(30, 5, generator=torch.Generator().manual_seed(1)).double()


def late_move(loss: list[float]) -> float:
    """The twin: rescaled to [0, 1], running best, its range over the last ten."""
    low, high = min(loss), max(loss)
    if high == low:
        return 0.0
    best, kept = -float("inf"), []
    for value in ((v - low) / (high - low) for v in loss):
        best = max(best, value)
        kept.append(best)
    return max(kept[-10:]) - min(kept[-10:])


def test_late_move_is_its_slow_twin() -> None:
    path = Path(NUMBERS, -NUMBERS, NUMBERS[:0])
    slow = [late_move(column.tolist()) for column in NUMBERS.T]
    assert path.late_move("ce").tolist() == pytest.approx(slow)
    assert path.late_move("margin").tolist() == pytest.approx(slow)


def test_a_path_that_stands_still_does_not_move_and_a_short_one_says_nothing() -> None:
    still = torch.ones(30, 1).double()
    assert Path(still, still, still[:0]).late_move("ce").tolist() == [0.0]
    short = still[:9]
    assert bool(Path(short, short, short[:0]).late_move("ce").isnan().all())


def test_silent_is_a_wrong_query_before_a_right_end() -> None:
    margin = torch.tensor([[1.0, 1.0], [-1.0, -1.0], [0.5, -2.0]]).double()
    ce = torch.tensor([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]).double()
    assert Path(ce, margin, ce[:0]).silent("ce").tolist() == [True, False]
    assert Path(ce, margin, ce[:0]).silent("margin").tolist() == [False, False]


def test_consistency_is_spearmans() -> None:
    peer = torch.randn(8, 5, generator=torch.Generator().manual_seed(2)).double()
    found = Path(NUMBERS, -NUMBERS, peer).consistency("ce")
    for row in range(5):
        own = NUMBERS[::4][:8, row]
        known = stats.spearmanr(own.numpy(), -peer[:, row].numpy()).statistic
        assert float(found[row]) == pytest.approx(known)


def test_a_trace_keeps_queries_of_its_rows_and_no_others() -> None:
    traced = Traced(nn.Flatten(), peer=lambda images: -images, every=2)
    images = torch.tensor([[0.6, 0.5], [0.2, 0.9]])
    traced.begin(torch.tensor([0, 1]))
    for shown in (images, images[:1], images.flip(1), images):
        traced(shown)
    path = traced.path()
    assert path.margin.shape == (3, 2) and path.peer.shape == (2, 2)
    assert path.margin[0].tolist() == pytest.approx([0.1, 0.7])
    assert path.peer[1].tolist() == pytest.approx([-0.1, -0.7])


@pytest.mark.parametrize("norm", ["Linf", "L2", "L1"])
def test_one_step_gains_most_to_first_order(norm: str) -> None:
    settings = DiagnosisSettings(eps=0.1, norm=norm)  # type: ignore[arg-type]
    images = torch.full((3, 1, 2, 2), 0.5)
    gradient = torch.randn(3, 1, 2, 2, generator=torch.Generator().manual_seed(4))
    (found,) = one_step(settings, images, {"ce": gradient})
    change = found - images
    length = norm_of(change, norm).tolist()  # type: ignore[arg-type]
    assert length == pytest.approx([0.1] * 3, rel=1e-4)
    gain = (change * gradient).flatten(1).sum(1)
    assert torch.allclose(gain, 0.1 * dual(gradient, norm), rtol=1e-3)


def dual(gradient: Tensor, norm: str) -> Tensor:
    rows = gradient.flatten(1)
    order = {"Linf": 1.0, "L2": 2.0, "L1": float("inf")}[norm]
    return torch.linalg.vector_norm(rows, order, dim=1)


@pytest.mark.parametrize(
    "changes",
    [{"eps": 0}, {"eps": float("inf")}, {"steps": 21}, {"steps": 10}, {"queries": 0}],
    ids=str,
)
def test_settings_are_refused_as_a_whole(changes: dict[str, float]) -> None:
    name = next(iter(changes))
    with pytest.raises(ConfigError, match=name):
        DiagnosisSettings(**({"eps": 0.1} | changes))  # type: ignore[arg-type]


def test_no_bounds_are_refused() -> None:
    with pytest.raises(ConfigError, match="bounds"):
        DiagnosisSettings(eps=0.1, bounds=None)
