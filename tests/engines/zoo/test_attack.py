"""Does every attack of torchattacks run through the driver, in any layout, without traces?"""

from __future__ import annotations

import logging
import random
import warnings

import numpy as np
import pytest
import torch
import torchattacks
from torch import Tensor, nn

from torchattacks_ext.engines.zoo.attack import run_attack
from torchattacks_ext.engines.zoo.watch import GradientWatch
from torchattacks_ext.errors import BackendError, InputError, StateError
from torchattacks_ext.evaluation.zoo.catalogue import attack_names, create_attack
from torchattacks_ext.models.gradients import NoGradient

FAST = {
    "AutoAttack": {"eps": 0.3},
    "EADEN": {"max_iterations": 10, "initial_const": 100.0},
    "EADL1": {"max_iterations": 10, "initial_const": 100.0},
    "CW": {"steps": 10, "c": 100.0},
    "JSMA": {"gamma": 0.05},
    "OnePixel": {"steps": 2},
    "Pixle": {"restarts": 1, "max_iterations": 3},
    "SPSA": {"nb_sample": 8, "max_batch_size": 8},
    "Square": {"n_queries": 20, "eps": 0.3},
}
STEPS = {"DeepFool": 5, "SparseFool": 3}


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def net(channels: int = 3) -> nn.Module:
    """A fixed convolutional net, K=10; no draw from any generator."""
    model = nn.Sequential(
        nn.Conv2d(channels, 4, 3, padding=1),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 10),
    )
    with torch.no_grad():
        for i, p in enumerate(model.parameters()):
            wave = torch.arange(p.numel(), dtype=torch.float64) * (1.7 + i)
            p.copy_(wave.sin().reshape(p.shape) / (0.2 * p[0].numel()) ** 0.5)
    return model.requires_grad_(False).eval()


def batch(channels: int = 3) -> tuple[Tensor, Tensor]:
    pixels = torch.arange(4 * channels * 64, dtype=torch.float64)
    images = (0.5 + 0.4 * (pixels * 12.9898).sin()).float()
    images = images.reshape(4, channels, 8, 8)
    return images, net(channels)(images).argmax(1)


def build(name: str):
    arguments = {"eps": 0.05, **FAST.get(name, {})}
    if name in STEPS:
        arguments["steps"] = STEPS[name]

    def factory(model: nn.Module):
        return create_attack(name, model, n_classes=10, seed=3, **arguments)

    return factory


def layouts(images: Tensor) -> dict[str, Tensor]:
    hwc = images.permute(0, 2, 3, 1).contiguous()
    wide = torch.zeros(*images.shape[:3], 2 * images.shape[3])
    wide[..., ::2] = images
    return {
        "permuted": hwc.permute(0, 3, 1, 2),
        "channels_last": images.clone().to(memory_format=torch.channels_last),
        "strided": wide[..., ::2],
        "as it is": images,
    }


@pytest.mark.parametrize("name", attack_names())
def test_every_attack_runs_frozen_in_every_layout_and_leaves_no_trace(name, capsys):
    model, (images, labels) = net(), batch()
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    reference = run_attack(build(name), model, images, labels, 11)
    assert reference.shape == images.shape and reference.dtype == images.dtype
    assert reference.is_contiguous() and not reference.requires_grad
    assert reference.isfinite().all() and not reference.is_inference()
    assert (name == "VANILA") == torch.equal(reference, images)
    for layout, same_images in layouts(images).items():
        found = run_attack(build(name), model, same_images, labels, 11)
        assert torch.equal(found, reference), layout
    after = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    assert torch.equal(before[0], after[0]) and before[1:] == after[1:]
    assert capsys.readouterr().out == ""
    assert torch.equal(images, batch()[0]) and torch.equal(labels, batch()[1])
    assert all(p.grad is None and not p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("name", ["PGD", "DeepFool", "CW", "Square"])
def test_odd_strides_of_a_single_channel_change_nothing(name):
    model, (images, labels) = net(1), batch(1)
    reference = run_attack(build(name), model, images, labels, 11)
    for layout, same_images in layouts(images).items():
        found = run_attack(build(name), model, same_images, labels, 11)
        assert torch.equal(found, reference), layout


def test_without_the_driver_the_layout_matters():
    """What the copy is for: one attack fails, another draws in another order."""
    model, (images, labels) = net(), batch()
    permuted = layouts(images)["permuted"]
    with pytest.raises(RuntimeError, match="view size is not compatible"):
        torchattacks.PGDL2(model)(permuted, labels)
    torch.manual_seed(1)
    a = torchattacks.GN(model)(images, labels)
    torch.manual_seed(1)
    assert not torch.equal(a, torchattacks.GN(model)(permuted, labels))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("name", ["PGD", "FAB", "EADL1"])
def test_gradients_are_switched_on(name, mode):
    model, (images, labels) = net(), batch()
    reference = run_attack(build(name), model, images, labels, 11)
    with mode():
        found = run_attack(build(name), model, images * 1.0, labels + 0, 11)
        assert not torch.is_grad_enabled()
    assert torch.equal(found, reference) and not found.is_inference()


@pytest.mark.parametrize("name", ["APGD", "CW", "DeepFool", "GN", "PGD", "Square"])
def test_double_models_are_attacked_in_double(name):
    images, labels = batch()
    found = run_attack(build(name), net().double(), images.double(), labels, 11)
    assert found.dtype == torch.float64


def test_an_attack_that_only_knows_floats_says_so():
    images, labels = batch()
    with pytest.raises(BackendError, match="FAB raised RuntimeError: .*float"):
        run_attack(build("FAB"), net().double(), images.double(), labels, 11)


def test_failing_attack_is_named_and_its_cause_chained():
    images, labels = batch(1)
    with pytest.raises(
        BackendError, match="attack TIFGSM raised RuntimeError: Given"
    ) as e:
        run_attack(build("TIFGSM"), net(1), images, labels, 11)
    assert isinstance(e.value.__cause__, RuntimeError)


def test_failing_constructor_is_named():
    def wrong(model: nn.Module):
        raise ZeroDivisionError("by hand")

    with pytest.raises(BackendError, match="wrong raised ZeroDivisionError: by hand"):
        run_attack(wrong, net(), *batch(), 11)


@pytest.mark.parametrize(
    "error", [StateError("budget"), torch.cuda.OutOfMemoryError("big"), MemoryError()]
)
def test_what_the_caller_must_see_passes_through(error):
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise error

    with pytest.raises(type(error)) as caught:
        run_attack(build("PGD"), Broken(), *batch(), 11)
    assert caught.value is error


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (None, "returned NoneType instead of a tensor"),
        (torch.zeros(3, 3, 8, 8), r"of shape \(3, 3, 8, 8\)"),
        (torch.zeros(4, 3, 8, 8, dtype=torch.uint8), "returned torch.uint8"),
    ],
)
def test_answers_that_are_no_images_are_refused(answer, message):
    with pytest.raises(BackendError, match=message):
        run_attack(lambda m: lambda x, y: answer, net(), *batch(), 11)


@pytest.mark.parametrize(
    "labels",
    [torch.zeros(3, dtype=torch.long), torch.zeros(4), torch.zeros(4, 10).long()],
)
def test_labels_that_do_not_fit_are_refused(labels):
    with pytest.raises(InputError, match="need \\(4,\\) class indices"):
        run_attack(build("FGSM"), net(), batch()[0], labels, 11)


def test_victim_must_be_a_module():
    with pytest.raises(InputError, match="wrap it in a torch.nn.Module"):
        run_attack(build("FGSM"), lambda x: x, *batch(), 11)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.uint8])
def test_small_integer_labels_are_widened(dtype):
    model, (images, labels) = net(), batch()
    found = run_attack(build("PGD"), model, images, labels.to(dtype), 11)
    assert torch.equal(found, run_attack(build("PGD"), model, images, labels, 11))


def test_model_without_parameters_gets_the_device_of_the_images():
    class Mean(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1)[:, :10]

    images, labels = batch()
    assert run_attack(build("PGD"), Mean(), images, labels, 11).device == images.device
    with pytest.raises(AssertionError):
        attack = torchattacks.FAB(Mean())
        assert attack.device is not None


def test_an_attack_that_writes_into_its_input_does_not_reach_the_caller():
    images, labels = batch()

    def factory(model: nn.Module):
        return lambda x, y: x.mul_(0) + y.mul_(0)[:, None, None, None]

    assert run_attack(factory, net(), images, labels, 11).abs().max() == 0
    assert torch.equal(images, batch()[0]) and torch.equal(labels, batch()[1])


def test_empty_batch():
    images, labels = batch()
    found = run_attack(build("AutoAttack"), net(), images[:0], labels[:0], 11)
    assert found.shape == (0, 3, 8, 8)


@pytest.mark.parametrize("fails", [False, True])
def test_every_module_gets_its_own_mode_back(fails):
    model = nn.Sequential(net(), nn.BatchNorm1d(10), nn.Dropout(0.1)).train()
    model[1].eval()
    images, labels = batch()
    before = [m.training for m in model.modules()]
    statistics = model[1].running_mean.clone()
    if fails:
        with pytest.raises(BackendError):
            run_attack(build("PGD"), model, images, labels + 100, 11)
    else:
        run_attack(build("PGD"), model, images, labels, 11)
    assert [m.training for m in model.modules()] == before
    assert torch.equal(model[1].running_mean, statistics)


def test_words_go_to_the_log(caplog, capsys):
    def factory(model: nn.Module):
        attack = torchattacks.PGD(model)
        attack.set_mode_targeted_by_label()
        return attack

    with caplog.at_level(logging.DEBUG, logger="torchattacks_ext"):
        run_attack(factory, net(), *batch(), 11)
    assert "Attack mode is changed to 'targeted(label)'." in caplog.text
    assert capsys.readouterr().out == ""


def test_warnings_of_the_victim_are_shown():
    class Warns(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            warnings.warn("mine", UserWarning, stacklevel=1)
            return x.flatten(1)[:, :10]

    with pytest.warns(UserWarning, match="mine"):
        run_attack(build("FGSM"), Warns(), *batch(), 11)


def frozen() -> nn.Module:
    return torch.jit.freeze(torch.jit.script(net().eval()))


@pytest.mark.filterwarnings("ignore:.torch.jit.*is deprecated")
@pytest.mark.parametrize("where", ["bare", "inside"])
def test_a_script_that_lost_its_mode_is_attacked_as_the_plain_net(where: str) -> None:
    images, labels = torch.full((2, 3, 8, 8), 0.5), torch.tensor([1, 2])
    model, plain = frozen(), net().eval().requires_grad_(False)
    if where == "inside":
        model, plain = nn.Sequential(model), nn.Sequential(plain)
    found, wanted = (
        run_attack(lambda m: torchattacks.PGD(m, steps=2), one, images, labels, seed=3)
        for one in (model, plain)
    )
    assert torch.allclose(found, wanted, atol=1e-5)


class Unguided(torch.autograd.Function):
    """Gives None where a gradient is asked of it, as the layers of dynamic quantisation."""

    @staticmethod
    def forward(ctx, images):
        return images.flatten(1)[:, :4].clone()

    @staticmethod
    def backward(ctx, gradient):
        return None


@pytest.mark.parametrize("name", ["FGSM", "MIFGSM", "PGD"])
def test_a_gradient_that_is_none_is_said_to_be_none(name: str) -> None:
    images, labels = torch.full((2, 3, 8, 8), 0.5), torch.tensor([1, 2])
    watch = GradientWatch(Before(Unguided.apply), 2)
    attack = getattr(torchattacks, name)
    with pytest.raises(NoGradient, match="gives no gradient of its scores.*Square"):
        run_attack(lambda m: attack(m), watch, images, labels, seed=3)


class Before(nn.Module):
    """A module of a function."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function, self.weight = function, nn.Parameter(torch.ones(1))

    def forward(self, images: Tensor) -> Tensor:
        return self.function(images)
