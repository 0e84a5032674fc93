"""Does a probe keep its promises where no single call of `check_probe` looks?"""

from __future__ import annotations

import contextlib
import io
import time
from typing import Any

import pytest
import torch
import torchattacks
from torch import Tensor, nn

from torchattacks_ext import (
    ConfigError,
    InputError,
    ModelContractError,
    PRTest,
    ReliabilityWarning,
    StateError,
    Verdict,
)
from torchattacks_ext.testing import RateVictim, small_net
from torchattacks_ext.testing.props import example_images

IMAGES = example_images(6)


# ---------------------------------------------------------------- budgets
def test_n_queries_is_what_one_call_costs(labels_of: Any, quick: Any) -> None:
    calls = []
    net = small_net().eval()
    net.register_forward_hook(lambda m, i, o: calls.append(len(i[0])))
    y = labels_of(small_net())
    for reference, batch_size in (("label", 4), ("label", 256), ("prediction", 5)):
        calls.clear()
        probe = quick(net, n_queries=30, reference=reference, batch_size=batch_size)
        probe(IMAGES, y)
        assert sum(calls) == 30 * len(IMAGES)
    calls.clear()
    quick(net)(IMAGES, y)
    assert sum(calls) == 100 * len(IMAGES)


@pytest.mark.parametrize("limit", [1, 10, 54, 70, 100, 130])
def test_max_queries_is_never_passed(limit: int, labels_of: Any, quick: Any) -> None:
    net = small_net().eval()  # a fresh one: the look at the model is not cached
    y = labels_of(net)
    with pytest.warns(ReliabilityWarning, match="budget_spent"):
        result = quick(net, max_queries=limit, batch_size=4).measure(IMAGES, y)
    assert result.cost.forward <= limit
    assert len(result) == len(IMAGES) and result.count(Verdict.UNDECIDED) > 0
    assert "budget_spent" in [flag.code for flag in result.flags]


def test_max_seconds_ends_the_run(quick: Any, labels_of: Any) -> None:
    net = small_net().eval()

    def slow(images: Tensor) -> Tensor:
        time.sleep(0.01)
        return net(images)

    probe = quick(slow, max_seconds=0.3, batch_size=1, n_max=20_000, tolerance=1e-3)
    started = time.monotonic()
    with pytest.warns(ReliabilityWarning, match="budget_spent"):
        result = probe.measure(IMAGES, labels_of(net))
    assert time.monotonic() - started < 20
    assert result.count(Verdict.UNDECIDED) > 0


def test_a_run_cut_by_its_budget_is_gone_on_with_by_resume(
    net: nn.Module, labels_of: Any, quick: Any
) -> None:
    y = labels_of(net)
    with pytest.warns(ReliabilityWarning):
        cut = quick(net, max_queries=150, batch_size=8).measure(IMAGES, y)
    whole = quick(net).measure(IMAGES, y)
    again = quick(net).measure(IMAGES, y, resume=cut)
    assert again.digest() == whole.digest() != cut.digest()
    assert again.cost.forward >= cut.cost.forward


# ---------------------------------------------------------------- save
def test_saved_images_are_read_by_torchattacks_and_score_the_same(
    net: nn.Module, tmp_path: Any, labels_of: Any, quick: Any
) -> None:
    y = labels_of(net)
    path = tmp_path / "saved.pt"
    for save_type in ("float", "int"):
        scores = quick(net, eps=0.2).save(
            [(IMAGES[:4], y[:4]), (IMAGES[4:], y[4:])],
            path,
            return_verbose=True,
            save_predictions=True,
            save_clean_inputs=True,
            save_type=save_type,
        )
        assert scores is not None
        with contextlib.redirect_stdout(io.StringIO()):
            loader = torchattacks.PGD.load(
                str(path), load_predictions=True, load_clean_inputs=True
            )
        found, labels, predictions, clean = next(iter(loader))
        assert torch.equal(labels, y) and torch.allclose(clean, IMAGES, atol=1e-6)
        with torch.no_grad():
            again = net(found).argmax(1)
        assert torch.equal(again, predictions)
        assert scores[0] == pytest.approx(100 * float((again == y).double().mean()))
        assert float((found - clean).abs().max()) <= 0.2 + 1e-5


def test_eight_bit_images_stay_in_a_ball_of_one_step(
    tmp_path: Any, labels_of: Any, quick: Any
) -> None:
    """torchattacks truncates: a result at eps 1/255 came back 2/255 away."""
    net = small_net().eval()
    y = labels_of(net)
    path = tmp_path / "saved.pt"
    quick(net, eps=1 / 255).save([(IMAGES, y)], path, save_type="int")
    saved = torch.load(path, weights_only=True)["adv_inputs"].int()
    assert int((saved - (IMAGES * 255).round().int()).abs().max()) <= 1


def test_saving_nothing_is_refused(net: nn.Module, quick: Any, labels_of: Any) -> None:
    with pytest.raises(InputError, match="empty"):
        quick(net).save([], None)
    with pytest.raises(ConfigError, match="save_type"):
        quick(net).save([(IMAGES, labels_of(net))], None, save_type="png")


# ---------------------------------------------------------------- ids and noise
def test_a_zoo_loop_over_two_batches_uses_other_noise_in_each(
    net: nn.Module, labels_of: Any, quick: Any
) -> None:
    y = labels_of(net)
    probe = quick(net)
    images = torch.full((2, 1, 8, 8), 0.5)
    images[1, 0, 0, 0] = 0.6
    noise = [probe(images[i : i + 1], y[:1]) - images[i : i + 1] for i in range(2)]
    assert float((noise[0] - noise[1]).abs().max()) > 0.01


def test_400_identical_images_do_not_share_noise_and_are_flagged() -> None:
    images, y = torch.full((400, 1, 4, 4), 0.5), torch.zeros(400, dtype=torch.long)
    probe = PRTest(RateVictim(0.3), eps=0.1, n_max=2000)
    with pytest.warns(ReliabilityWarning, match="duplicates"):
        result = probe.measure(images, y)
    assert len(result.ids.unique()) == 400
    assert len(result.worst_margin) == 400 and len(result.n_samples.unique()) > 5
    flag = next(flag for flag in result.flags if flag.code == "duplicates")
    assert flag.count == 399
    first = probe.replay(images, result.ids, torch.zeros(400, dtype=torch.int64))
    assert len(first.flatten(1).unique(dim=0)) == 400


def test_two_halves_of_data_with_repeats_need_ids(
    net: nn.Module, labels_of: Any, quick: Any
) -> None:
    y = labels_of(net)
    result = quick(net).measure(IMAGES, y)
    with pytest.raises(StateError, match="pass ids="):
        type(result).concat([result, quick(net).measure(IMAGES, y)])
    parts = [
        quick(net).measure(IMAGES, y, ids=[f"{half}-{i}" for i in range(6)])
        for half in "ab"
    ]
    assert len(type(result).concat(parts)) == 12


def test_all_non_finite_is_a_broken_model_and_some_is_a_flag(
    labels_of: Any, quick: Any
) -> None:
    net = small_net().eval()
    y = labels_of(net)
    with pytest.raises(ModelContractError, match="all 6 images"):
        quick(lambda x: net(x) * float("nan")).measure(IMAGES, y)

    def partly(images: Tensor) -> Tensor:
        marked = (images[:, 0, 0, 0] * 255).round() == (
            IMAGES[0, 0, 0, 0] * 255
        ).round()
        return net(images).masked_fill(marked[:, None], float("nan"))

    with pytest.warns(ReliabilityWarning, match="non_finite"):
        result = quick(partly).measure(IMAGES, y)
    assert result.to_records()[0]["status"] == "non_finite"
    assert result.verdict[0] == int(Verdict.MISCLASSIFIED)
