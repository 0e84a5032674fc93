"""Does `evaluate` survive stages that raise, and give everything back?"""

from __future__ import annotations

import random
import threading
import warnings
from typing import Any

import numpy as np
import pytest
import torch
import torchattacks
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from torchattacks_ext import (
    AttackResult,
    EvaluationReport,
    InputError,
    NormalizedModel,
    ReliabilityWarning,
    Status,
    Verdict,
    evaluate,
)
from torchattacks_ext.testing import HalfSpace, small_net

PRTEST = {"name": "prtest", "tolerance": 0.2, "significance": 0.1, "n_max": 300}
SQUARE = {"name": "Square", "n_queries": 10}
PLAN = {"eps": 0.03, "stages": ["FGSM", PRTEST]}


# ---------------------------------------------------------------- stages that raise
def broken(monkeypatch: Any, error: BaseException, after: int = 0) -> list[int]:
    """FGSM raises `error` from its call number `after` on."""
    calls: list[int] = []

    def forward(self: Any, images: Tensor, labels: Tensor) -> Tensor:
        calls.append(len(images))
        if len(calls) > after:
            raise error
        return images

    monkeypatch.setattr(torchattacks.FGSM, "forward", forward)
    return calls


def test_an_attack_that_raises_is_a_row_with_its_reason_and_never_a_pass(
    monkeypatch: Any, wave_net: Any, images: Tensor, labels: Tensor
) -> None:
    calls = broken(monkeypatch, RuntimeError("boom"))
    plan = PLAN | {"stages": ["FGSM", "PGD", PRTEST], "batch_size": 5, "group_size": 5}
    report = evaluate(wave_net, (images, labels), plan)
    stage = report["FGSM"]
    assert stage.result is None and "RuntimeError: boom" in str(stage.error)
    assert report.failed == (stage,) and len(calls) == 6  # one a group
    assert report.summary()["FGSM"] == {"error": stage.error}
    worst = report.worst_case()
    assert worst is not None and worst["failed_stages"] == ["FGSM"]
    # the others went on, as if the broken one had not been there
    alone = evaluate(wave_net, (images, labels), plan | {"stages": ["PGD", PRTEST]})
    assert worst["robust_accuracy"] == alone.worst_case()["robust_accuracy"]
    for name in ("clean", "PGD", "prtest"):
        assert report[name].result.digest() == alone[name].result.digest()
    again = EvaluationReport.from_json(report.to_json())
    assert again["FGSM"].error == stage.error and again["FGSM"].result is None


def test_rows_on_which_an_attack_raised_are_failed_and_the_others_stay(
    monkeypatch: Any, wave_net: Any, images: Tensor, labels: Tensor
) -> None:
    with monkeypatch.context() as patch:
        broken(patch, RuntimeError("boom"), after=4)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ReliabilityWarning)
            report = evaluate(wave_net, (images, labels), RAISED)
    result, clean = report["FGSM"].result, report["clean"].result
    assert not report.failed and isinstance(result, AttackResult)
    right = clean.clean_correct == 1
    late = torch.arange(30) >= 24
    assert torch.equal(result.status == int(Status.FAILED), right & late)
    wrong = result.verdict == int(Verdict.MISCLASSIFIED)
    assert torch.equal(wrong, ~right)
    (flag,) = [flag for flag in report.flags if flag.code == "attack_raised"]
    assert flag.count == int((right & late).sum()) and "boom" in flag.message
    worst = report.worst_case()
    assert worst is not None and "robust_accuracy_bounds" in worst


RAISED = {"eps": 0.03, "stages": ["FGSM"], "batch_size": 5, "group_size": 6}


def test_the_log_has_the_trace_of_what_nobody_expected_only(
    monkeypatch: Any, caplog: Any, wave_net: Any, images: Tensor, labels: Tensor
) -> None:
    broken(monkeypatch, InputError("foreseen"))
    evaluate(wave_net, (images, labels), PLAN | {"stages": ["FGSM"]})
    (record,) = caplog.records
    assert record.message == "stage FGSM failed: foreseen"
    assert not record.exc_info
    caplog.clear()
    broken(monkeypatch, RuntimeError("boom"))
    evaluate(wave_net, (images, labels), PLAN)
    assert "boom" in caplog.records[0].message and caplog.records[0].exc_info


def test_no_worst_case_where_every_attack_raised(
    monkeypatch: Any, wave_net: Any, images: Tensor, labels: Tensor
) -> None:
    broken(monkeypatch, ValueError("no"))
    report = evaluate(wave_net, (images, labels), PLAN | {"stages": ["FGSM"]})
    assert report.worst_case() is None and report.survivors() is None
    assert report.gallery == () and report["clean"].result is not None


def test_a_model_that_breaks_inside_an_attack_breaks_that_stage_only(
    waves: Any, images: Tensor, labels: Tensor
) -> None:
    class NoGradient(waves):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images.detach())

    report = evaluate(NoGradient(), (images, labels), PLAN)
    assert [stage.name for stage in report.failed] == ["FGSM"]
    assert report["prtest"].result is not None


def test_ctrl_c_inside_a_stage_gets_through_and_the_model_is_given_back(
    monkeypatch: Any, images: Tensor, wrong_at: Any, wave_net: Any
) -> None:
    broken(monkeypatch, KeyboardInterrupt())
    net = half_frozen(small_net())
    before, rng = state_of(net), generators()
    with pytest.raises(KeyboardInterrupt):
        evaluate(net, (images, wrong_at(wave_net, images) % 3), PLAN)
    assert same(before, state_of(net)) and same(rng, generators())
    reports: list[Any] = []
    other = {"eps": 0.3, "stages": ["VANILA"]}
    data = images, torch.arange(30) % 3
    thread = threading.Thread(target=lambda: reports.append(evaluate(net, data, other)))
    thread.start()  # no lock is left behind
    thread.join()
    assert reports


# ---------------------------------------------------------------- what is given back
def half_frozen(net: nn.Module) -> nn.Module:
    """Train mode but for the BatchNorm, one frozen parameter, one gradient."""
    net.train()
    net[1].eval()
    net[0].weight.requires_grad_(False)
    net[-1].weight.grad = torch.ones_like(net[-1].weight)
    return net


def state_of(net: nn.Module) -> list[Any]:
    values = [value.clone() for value in net.state_dict().values()]
    grads = [(p.requires_grad, id(p.grad)) for p in net.parameters()]
    return [[m.training for m in net.modules()], grads, *values]


def generators() -> list[Any]:
    numpy_state = np.random.get_state(legacy=False)["state"]
    return [torch.get_rng_state(), torch.from_numpy(numpy_state["key"].astype(int)),
            numpy_state["pos"], random.getstate()]  # fmt: skip


def same(before: list[Any], after: list[Any]) -> bool:
    return all(
        torch.equal(a, b) if isinstance(a, Tensor) else a == b
        for a, b in zip(before, after)
    )


EVERY_KIND = ["GN", "PGD", "APGD", "FAB", SQUARE, "OnePixel", "DeepFool", PRTEST]


def test_modes_gradients_and_random_numbers_are_untouched(
    wrong_at: Any, images: Tensor
) -> None:
    net = half_frozen(small_net())
    labels = wrong_at(small_net().eval(), images)
    for data in ((images, labels), TensorDataset(images, labels)):
        before, rng = state_of(net), generators()
        stages = EVERY_KIND[:-3] + [{"name": "OnePixel", "steps": 1}, PRTEST]
        report = evaluate(net, data, {"eps": 0.1, "stages": stages})
        assert not report.failed
        assert same(before, state_of(net)) and same(rng, generators())


def test_a_model_that_draws_advances_the_generator_by_its_own_draws_only(
    waves: Any, images: Tensor, labels: Tensor
) -> None:
    class Noisy(waves):
        """Draws one number a call."""

        calls = 0

        def forward(self, images: Tensor) -> Tensor:
            self.calls += 1
            return super().forward(images) + torch.rand(())

    net, state = Noisy(), torch.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        evaluate(net, (images, labels), PLAN | {"stages": ["PGD", SQUARE, PRTEST]})
    after = torch.get_rng_state()
    torch.set_rng_state(state)
    for _ in range(net.calls):
        torch.rand(())
    assert torch.equal(after, torch.get_rng_state())


def test_the_first_bad_row_of_a_later_batch_gives_the_model_back(
    images: Tensor, labels: Tensor
) -> None:
    images, net = images.clone(), small_net().train()
    images[25] = 7.0
    with pytest.raises(InputError, match="images lie in"):
        evaluate(net, (images, labels % 3), PLAN | {"batch_size": 10})
    assert all(module.training for module in net.modules())


# ---------------------------------------------------------------- kinds of models
def test_a_double_model_and_a_plain_function(
    wave_net: Any, images: Tensor, labels: Tensor, numbers: Any, waves: Any
) -> None:
    double = evaluate(waves().double(), (images, labels), PLAN)
    assert not double.failed
    weight = wave_net.weight.detach()
    plain = evaluate(lambda x: (x.flatten(1) - 0.5) @ weight.T, (images, labels), PLAN)
    assert plain.model["sha256"] is None
    expected = evaluate(wave_net, (images, labels), PLAN)
    assert numbers(plain)[:-2] == numbers(expected)[:-2]
    assert torch.equal(double["FGSM"].result.verdict, expected["FGSM"].result.verdict)


def test_a_model_that_normalises_is_attacked_in_pixels() -> None:
    weight = torch.tensor([1.0, -1.0]).repeat(8)
    radii = torch.arange(1, 11) / 100
    images = (0.5 + radii[:, None] * weight).reshape(10, 1, 4, 4)
    plain = HalfSpace(weight, 1e-6)
    net = NormalizedModel(plain, mean=[0.5], std=[0.25])
    labels = net(images).argmax(1)
    report = evaluate(net, (images, labels), {"eps": 0.055, "stages": ["FGSM"]})
    assert report["FGSM"].result.robust_accuracy == 5 / 10
    assert float(report["FGSM"].result.norm.max()) <= 0.055 * (1 + 1e-6)


def test_data_that_are_no_images_can_be_tested(
    wave_net: Any, images: Tensor, wrong_at: Any
) -> None:
    flat = images.flatten(1)
    plan = {"eps": 0.3, "bounds": None, "stages": [PRTEST]}
    report = evaluate(wave_net, (flat * 4 - 2, wrong_at(wave_net, flat * 4 - 2)), plan)
    assert report.gallery == () and report.data["shape"] == [64]
    assert not report.failed
