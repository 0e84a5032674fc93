"""Do modules that work on a change of mode come back as they were, and graphs without modes?"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext import FIMScore, NormalizedModel, PRTest, evaluate
from torchattacks_ext.models.modes import change, give_back_modes, modes_of
from torchattacks_ext.models.session import session
from torchattacks_ext.testing import small_net

IMAGES = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
SETTINGS: dict[str, Any] = dict(eps=0.05, tolerance=0.1, significance=0.1, n_max=64)


class Adapter(nn.Module):
    """Its weights take in the adapter in eval mode, and give it out in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.merged, self.n_changes = False, 0
        self.weight = nn.Parameter(torch.eye(64)[:10] * 1.0, requires_grad=False)
        self.low = nn.Parameter(torch.ones(10, 64) / 4)

    def train(self, mode: bool = True) -> Adapter:
        super().train(mode)
        if mode == self.merged:
            self.weight.data += -self.low.data if mode else self.low.data
            self.merged, self.n_changes = not mode, self.n_changes + 1
        return self

    def forward(self, images: Tensor) -> Tensor:
        weight = self.weight if self.merged else self.weight + self.low
        return images.flatten(1) @ weight.t()


@pytest.mark.parametrize("place", ["bare", "inside", "beside dropout"])
def test_a_merging_adapter_comes_back_unmerged(place: str) -> None:
    adapter = Adapter().train()
    model: nn.Module = adapter
    if place != "bare":
        model = nn.Sequential(nn.Dropout(0.0), adapter)
        model[0].train(place == "inside")
    modes, before = [m for _, m in modes_of(model)], adapter.weight.clone()
    labels = model(IMAGES).argmax(1)
    PRTest(model, **SETTINGS).measure(IMAGES, labels)
    assert not adapter.merged and torch.allclose(adapter.weight, before)
    assert [m for _, m in modes_of(model)] == modes
    assert model(IMAGES).requires_grad


def test_a_model_in_eval_mode_is_not_asked_to_change() -> None:
    adapter = Adapter().eval()
    asked = adapter.n_changes
    PRTest(adapter, **SETTINGS).measure(IMAGES, adapter(IMAGES).argmax(1))
    assert adapter.n_changes == asked and adapter.merged


def kinds() -> dict[str, Any]:
    net = small_net(seed=2).eval()
    sizes = ({0: torch.export.Dim("batch", min=1, max=4096)},)
    exported = torch.export.export(net, (IMAGES,), dynamic_shapes=sizes).module()
    script = torch.jit.script(net)
    return {
        "exported": exported,
        "exported, wrapped": NormalizedModel(exported, [0.0], [1.0]),
        "exported, in a row": nn.Sequential(exported, nn.Identity()),
        "script": script,
        "frozen": torch.jit.freeze(script),
        "optimised": torch.jit.optimize_for_inference(torch.jit.freeze(script)),
    }


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_graphs_without_modes_give_the_numbers_of_the_plain_net() -> None:
    net = small_net(seed=2).eval()
    labels = net(IMAGES).argmax(1)
    want = PRTest(net, **SETTINGS).measure(IMAGES, labels)
    lam = FIMScore(net).measure(IMAGES).log_lam
    plan = {"eps": 0.05, "stages": ["FGSM"]}
    left = evaluate(net, (IMAGES, labels), plan)["FGSM"].result
    for name, model in kinds().items():
        got = PRTest(model, **SETTINGS).measure(IMAGES, labels)
        assert torch.equal(got.verdict, want.verdict), name
        assert torch.equal(got.n_failures, want.n_failures), name
        if name == "optimised":  # its kernels have no derivative
            continue
        report = evaluate(model, (IMAGES, labels), plan)["FGSM"]
        assert report.error is None, name
        assert torch.equal(report.result.robust, left.robust), name
        got_lam = FIMScore(model).measure(IMAGES).log_lam
        assert float((got_lam - lam).abs().max()) < 1e-3, name


def test_a_module_that_refuses_its_mode_stays_as_it_is() -> None:
    class Refuses(nn.Linear):
        def train(self, mode: bool = True) -> Refuses:
            raise NotImplementedError("no modes here")

    net = nn.Sequential(nn.Dropout(), Refuses(2, 2))
    change(net, False)
    assert [mode for _, mode in modes_of(net)] == [False, False, False]
    with session(net):
        pass
    give_back_modes([(net, True), (net[0], True), (net[1], True)])
    assert all(mode for _, mode in modes_of(net))


@pytest.mark.filterwarnings("ignore:.torch.jit.*is deprecated")
def test_a_frozen_script_gets_no_mode_that_it_had_not() -> None:
    net = torch.jit.freeze(torch.jit.script(small_net().eval()))
    assert modes_of(net) == []
    with session(net):
        pass
    assert not hasattr(net, "training")
