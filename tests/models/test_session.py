"""Does a borrowed model come back module by module, whatever happened in between?"""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext import PRTest
from torchattacks_ext.errors import StateError
from torchattacks_ext.models import session
from torchattacks_ext.models.session import first_tensor
from torchattacks_ext.testing import small_net
from torchattacks_ext.testing.props import example_images


class Frozen(nn.Module):
    """Fine-tuning as it is done: train() for the whole, eval() for the BatchNorm inside."""

    def __init__(self) -> None:
        super().__init__()
        self.body = small_net()
        self.norm = nn.InstanceNorm2d(1, track_running_stats=True)
        self.drop = nn.Dropout(0.5)
        self.train()
        self.body[1].eval()
        self.body[0].weight.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        return self.drop(self.body(self.norm(images)))


def state(model: nn.Module) -> tuple[list[bool], list[bool], list[int]]:
    """Modes, requires_grad, and which object each grad is."""
    return (
        [module.training for module in model.modules()],
        [p.requires_grad for p in model.parameters()],
        [id(p.grad) for p in model.parameters()],
    )


@pytest.fixture
def model() -> Frozen:
    made = Frozen()
    for parameter in made.parameters():
        parameter.grad = torch.full_like(parameter, 3)
    return made


def test_modes_are_given_back_module_by_module(model: Frozen) -> None:
    before = state(model)
    assert sorted(set(before[0])) == [False, True]
    with session(model):
        assert not any(module.training for module in model.modules())
    assert state(model) == before


def test_gradients_are_the_same_objects_with_the_same_values(model: Frozen) -> None:
    grads = [parameter.grad for parameter in model.parameters()]
    with session(model):
        assert all(p.grad is None for p in model.parameters())
        assert not any(p.requires_grad for p in model.parameters())
        images = torch.rand(2, 1, 8, 8, requires_grad=True)
        model(images).sum().backward()
        assert images.grad is not None
    for parameter, grad in zip(model.parameters(), grads):
        assert parameter.grad is grad and bool((parameter.grad == 3).all())
    assert not model.body[0].weight.requires_grad
    assert model.body[0].bias.requires_grad


def test_all_is_given_back_after_an_exception(model: Frozen) -> None:
    before = state(model)
    with pytest.raises(KeyboardInterrupt):
        with session(model):
            model.train()
            for parameter in model.parameters():
                parameter.requires_grad_(True).grad = torch.zeros_like(parameter)
            raise KeyboardInterrupt
    assert state(model) == before
    with session(model):  # no lock leaked
        pass


def test_what_is_done_inside_is_undone(model: Frozen) -> None:
    before = state(model)
    with session(model):
        model.body[0].weight.requires_grad_(True)
        model.drop.train()
    assert state(model) == before


def test_a_model_that_cannot_be_set_leaves_no_lock() -> None:
    class Stubborn(Frozen):
        stubborn = False

        def eval(self) -> Stubborn:
            super().eval()
            if self.stubborn:
                raise RuntimeError("no")
            return self

    model = Stubborn()
    before = state(model)
    model.stubborn = True
    with pytest.raises(RuntimeError, match="no"):
        with session(model):
            pass
    assert state(model) == before
    model.stubborn = False
    with session(model):
        pass


def test_sessions_nest_in_one_thread(model: Frozen) -> None:
    before = state(model)
    with session(model):
        with session(model, training=True):
            assert model.training
        assert not any(module.training for module in model.modules())
        with pytest.raises(ValueError), session(model):
            raise ValueError
        assert not any(p.requires_grad for p in model.parameters())
    assert state(model) == before


# ---------------------------------------------------------------------- training modes
def test_training_mode_without_batch_statistics_and_dropout(model: Frozen) -> None:
    with session(model, training=True):
        assert model.training and model.body.training
        assert not model.body[1].training  # BatchNorm
        assert not model.norm.training  # running statistics of InstanceNorm
        assert not model.drop.training
    with session(model, training=True, dropout=True):
        assert model.drop.training and not model.body[1].training
    with session(model, dropout=True):  # as torchattacks: eval mode knows no dropout
        assert not model.drop.training


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("kind", [nn.InstanceNorm2d, nn.BatchNorm2d, nn.SyncBatchNorm])
def test_running_statistics_do_not_move(
    kind: Callable[..., nn.Module], training: bool
) -> None:
    if kind is nn.SyncBatchNorm and training:
        pytest.skip("SyncBatchNorm is made for several GPUs")
    norm = kind(2, track_running_stats=True)
    model = nn.Sequential(norm, nn.Flatten(), nn.Linear(32, 2)).train()
    before = {name: b.clone() for name, b in model.named_buffers()}
    with session(model, training=training, dropout=True):
        model(torch.rand(3, 2, 4, 4))
    assert len(before) == 3
    assert all(torch.equal(b, before[name]) for name, b in model.named_buffers())


# ---------------------------------------------------------------------- threads
def in_a_thread(work: Callable[[], object]) -> BaseException | None:
    """What `work` raised in another thread."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(timeout=30)
    assert not thread.is_alive()
    return raised[0] if raised else None


def borrow(model: Callable[..., object]) -> None:
    with session(model):
        pass


def test_another_thread_is_refused_while_a_session_runs(model: Frozen) -> None:
    other = Frozen()
    with session(model):
        with session(model):
            pass
        error = in_a_thread(lambda: borrow(model))
        assert isinstance(error, StateError)
        assert "Frozen" in str(error) and "own copy" in str(error)
        assert in_a_thread(lambda: borrow(other)) is None
        assert not model.training  # the refused thread changed nothing
    assert in_a_thread(lambda: borrow(model)) is None
    with session(model):
        pass


def test_a_session_of_another_thread_ends_with_its_exception(model: Frozen) -> None:
    def fail() -> None:
        with session(model):
            raise ValueError("inside")

    assert isinstance(in_a_thread(fail), ValueError)
    with session(model):
        pass


# ---------------------------------------------------------------------- callables
def test_a_plain_callable_is_only_locked() -> None:
    net = small_net().train()

    def model(images: Tensor) -> Tensor:
        out: Tensor = net(images)
        return out

    before = state(net)
    with session(model):
        assert state(net) == before
        assert isinstance(in_a_thread(lambda: borrow(model)), StateError)
    assert in_a_thread(lambda: borrow(model)) is None
    with pytest.raises(ValueError), session(model):
        raise ValueError
    assert in_a_thread(lambda: borrow(model)) is None


def test_the_first_tensor_says_dtype_and_device() -> None:
    class Counted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("count", torch.zeros(1, dtype=torch.int64))
            self.register_buffer("scale", torch.ones(1, dtype=torch.float64))

    counted = Counted()
    found = first_tensor(counted)
    assert found is not None and found.dtype == torch.float64
    half = nn.Linear(2, 2).half()
    assert first_tensor(nn.Sequential(counted, half)) is half.weight
    assert first_tensor(nn.Flatten()) is None and first_tensor(len) is None


def test_a_model_built_under_inference_mode_is_given_back() -> None:
    with torch.inference_mode():
        head = torch.nn.Linear(3, 3)
    net = torch.nn.Sequential(head, torch.nn.Linear(3, 3))
    net[1].weight.grad = torch.ones(3, 3)
    with session(net):
        assert not net[1].weight.requires_grad
    assert net[1].weight.requires_grad and net[1].weight.grad is not None


def test_measuring_a_model_built_under_inference_mode() -> None:
    images = example_images(4)
    with torch.inference_mode():
        net = small_net().eval()
        labels = net(images).argmax(1)
    result = PRTest(net, eps=0.1, tolerance=0.1, n_max=200).measure(images, labels)
    assert len(result) == 4 and bool((result.clean_correct == 1).all())
