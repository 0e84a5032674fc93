"""Is finished work kept when a model raises in the middle of a measurement?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext import MSA, FIMScore, InputError, ModelContractError, PRTest
from torchattacks_ext.attacks.base.finished import Keeper, check_keep
from torchattacks_ext.results.base.columns import Rows
from torchattacks_ext.results.base.sidecar import SideCar

pytestmark = pytest.mark.filterwarnings("ignore::torchattacks_ext.ReliabilityWarning")
N, SIZE = 24, 8
FAILED = 3
SHORT = [
    {"kind": "noise", "on": "target", "steps": 3},
    {"kind": "apgd", "steps": 5},
    {"kind": "square", "on": "target", "steps": 30},
]


class Touchy(nn.Module):
    """A net that raises where a first pixel is exactly 1; no draw inside the ball reaches it."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(16, 4))
        place = torch.arange(64.0).reshape(4, 16)
        self.net[1].weight.data = (place * 1.7 + 0.3).sin()
        self.net[1].bias.data.zero_()
        self.cured = False

    def forward(self, images: Tensor) -> Tensor:
        if not self.cured and bool((images.flatten(1)[:, 0] == 1).any()):
            raise KeyError("poisoned row")
        found: Tensor = self.net(images)
        return found


@pytest.fixture
def net() -> Touchy:
    return Touchy()


@pytest.fixture
def images() -> Tensor:
    return torch.rand(N, 1, 4, 4, generator=torch.Generator().manual_seed(0)) * 0.5


@pytest.fixture
def labels(net: Touchy, images: Tensor) -> Tensor:
    with torch.no_grad():
        return net.net(images).argmax(1)


def probes(net: nn.Module, **more: Any) -> dict[str, Any]:
    common: dict[str, Any] = {"eps": 0.02, "batch_size": SIZE} | more
    test = dict(tolerance=0.2, significance=0.1, n_max=300)
    few: dict[str, Any] = dict(tolerance=0.5, significance=0.2, n_systems=2)
    few |= dict(n_particles=4, n_moves=10)
    return {
        "PRTest": PRTest(net, **test, **common),
        "splitting": PRTest(net, test="splitting", **few, **common),
        "mean": PRTest(net, n_mean=2, **test, **common),
        "FIMScore": FIMScore(net, **common),
        "blackbox": FIMScore(net, method="blackbox", n_directions=8, **common),
        "MSA": MSA(net, version="custom", plan=SHORT, **common),
    }


KINDS = tuple(probes(Touchy()))


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_whose_forward_raises_is_failed_and_the_others_are_finished(
    kind: str, net: Touchy, images: Tensor, labels: Tensor
) -> None:
    whole = probes(net)[kind].measure(images, labels)
    poisoned = images.clone()
    poisoned[SIZE + 1, 0, 0, 0] = 1
    result = probes(net)[kind].measure(poisoned, labels)
    bad = torch.zeros(N, dtype=torch.bool)
    bad[SIZE : 2 * SIZE] = True
    assert torch.equal(result.status == FAILED, bad)
    if hasattr(result, "verdict"):
        assert not result.verdict[bad].any()  # UNDECIDED
    for spec in result.columns():
        if spec.kind == "decision":
            old, new = getattr(whole, spec.name), getattr(result, spec.name)
            assert torch.equal(old[~bad], new[~bad]), spec.name
    (flag,) = [flag for flag in result.flags if flag.code == "model_raised"]
    assert (
        flag.count == SIZE and "KeyError" in flag.message and "(8, 1," in flag.message
    )
    assert type(result).from_json(result.to_json()).digest() == result.digest()


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_run_measures_failed_rows_again(
    kind: str, net: Touchy, images: Tensor, labels: Tensor
) -> None:
    images[SIZE + 1, 0, 0, 0] = 1
    probe = probes(net)[kind]
    broken = probe.measure(images, labels)
    net.cured = True
    result = probe.measure(images, labels, resume=broken)
    assert not (result.status == FAILED).any()
    assert result.digest() == probe.measure(images, labels).digest()
    assert "model_raised" not in [flag.code for flag in result.flags]


@pytest.mark.parametrize("kind", KINDS)
def test_where_every_row_fails_the_model_s_words_are_raised(
    kind: str, images: Tensor, labels: Tensor
) -> None:
    class Dead(Touchy):
        calls = 0

        def forward(self, images: Tensor) -> Tensor:
            self.calls += len(images) > 1  # the look at the model has passed
            if self.calls > 6:
                raise OSError("the accelerator is gone")
            return self.net(images)

    with pytest.raises(ModelContractError, match="OSError.*accelerator") as caught:
        probes(Dead())[kind].measure(images, labels)
    assert isinstance(caught.value.__cause__, OSError)


def test_the_first_look_refuses_at_once(
    net: Touchy, images: Tensor, labels: Tensor
) -> None:
    images[0, 0, 0, 0] = 1
    for probe in probes(net).values():
        with pytest.raises(ModelContractError, match="poisoned"):
            probe.measure(images, labels)


@pytest.mark.parametrize("kind", ["FIMScore", "MSA"])
def test_what_is_not_the_model_s_own_is_raised(
    kind: str, net: Touchy, images: Tensor, labels: Tensor, monkeypatch: Any
) -> None:
    def stop(*_: Any, **__: Any) -> Any:
        raise ModelContractError("the package's own refusal")

    place = {"FIMScore": "fimscore.fimscore.score", "MSA": "msa.walk.attack_fixed"}
    monkeypatch.setattr(f"torchattacks_ext.attacks.{place[kind]}", stop)
    with pytest.raises(ModelContractError, match="own refusal"):
        probes(net)[kind].measure(images, labels)


def test_a_failing_round_keeps_the_draws_that_were_finished(
    images: Tensor, labels: Tensor
) -> None:
    class Tired(Touchy):
        asked = 0

        def forward(self, images: Tensor) -> Tensor:
            self.asked += 1
            if self.asked == 60:
                raise TimeoutError("once")
            return self.net(images)

    test = dict(eps=0.02, tolerance=0.05, significance=0.01, n_max=2000)
    result = PRTest(Tired(), batch_size=SIZE, **test).measure(images, labels)
    failed = result.status == FAILED
    assert 0 < failed.sum() < N and (result.n_samples[failed] > 0).any()
    again = PRTest(Tired().net, batch_size=SIZE, **test)
    whole = again.measure(images, labels)
    rows = ~failed
    assert torch.equal(result.n_samples[rows], whole.n_samples[rows])


# ---------------------------------------------------------------------- sizes and kept images
def test_batches_of_unequal_size_are_tested_and_kept(tmp_path: Path) -> None:
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    batches = [torch.rand(3, 1, *size) for size in [(8, 8), (10, 12), (8, 8)]]
    data = [(images, net(images).argmax(1)) for images in batches]
    for keep in ("memory", str(tmp_path / "kept")):
        for kind, probe in probes(net, keep=keep).items():
            result = probe.measure(data)
            assert len(result) == 9, kind
            if kind == "blackbox":  # a call has no step there
                assert not result.sidecars
                continue
            with pytest.raises(InputError, match="shapes"):
                result.images()
            rows = torch.cat([result.ids[:3], result.ids[6:]])
            assert result.select(rows).images().shape == (6, 1, 8, 8)
    alone = PRTest(net, eps=0.02, tolerance=0.2, significance=0.1, n_max=300)
    parts = [alone.measure(images, labels) for images, labels in data]
    whole = alone.measure(data)
    together = torch.cat([part.n_samples for part in parts])
    assert torch.equal(whole.n_samples, together)


def test_one_batch_of_all_images_refuses_unequal_sizes() -> None:
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    batches = [torch.rand(3, 1, *size) for size in [(8, 8), (10, 12)]]
    data = [(images, net(images).argmax(1)) for images in batches]
    with pytest.raises(
        InputError, match=r"\(1, 10, 12\), the first one of \(1, 8, 8\)"
    ):
        MSA(net, eps=0.02, version="autoattack").measure(data)


def test_a_folder_that_cannot_be_is_refused_before_the_work(
    tmp_path: Path, net: Touchy, images: Tensor, labels: Tensor
) -> None:
    (tmp_path / "file").touch()
    for probe in probes(net, keep=str(tmp_path / "file" / "kept")).values():
        with pytest.raises(InputError, match="is a file"):
            probe.measure(images, labels)
    check_keep(str(tmp_path / "not" / "yet"))
    assert not (tmp_path / "not").exists()


def test_a_full_disk_costs_the_images_and_no_row(
    tmp_path: Path, net: Touchy, images: Tensor, labels: Tensor, monkeypatch: Any
) -> None:
    def full(*_: Any) -> Any:
        raise OSError("no space left")

    monkeypatch.setattr(SideCar, "save", full)
    result = probes(net, keep=str(tmp_path))["MSA"].measure(images, labels)
    (flag,) = [flag for flag in result.flags if flag.code == "images_not_kept"]
    assert flag.count == N and "no space left" in flag.message
    assert not result.sidecars and (result.status == 0).all()


def test_a_keeper_has_one_side_car_a_shape() -> None:
    keeper = Keeper("memory")
    for number, shape in enumerate([(2, 3), (2, 4), (2, 3)]):
        ids = torch.arange(2) + 2 * number
        keeper.add(Rows(ids, {"ids": ids}, torch.zeros(shape)))
    assert [len(car.load()[0]) for car in keeper.finish()] == [4, 2]


def test_a_late_step_that_raises_is_a_doubt(
    net: Touchy, images: Tensor, labels: Tensor
) -> None:
    class Odd(PRTest):
        def facts(self) -> dict[str, Any]:
            raise ZeroDivisionError("a mean of nothing")

        def doubts(self, result: Any) -> Any:
            raise LookupError("nowhere")

    test = dict(eps=0.02, tolerance=0.2, significance=0.1, n_max=300)
    result = Odd(net, **test).measure(images, labels)
    assert [flag.code for flag in result.flags] == ["late_step"]
    assert torch.equal(
        result.n_samples, PRTest(net, **test).measure(images, labels).n_samples
    )
