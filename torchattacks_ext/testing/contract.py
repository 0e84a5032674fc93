"""Does a probe keep its promises? The whole contract as one reusable call."""

from __future__ import annotations

import contextlib
import copy
import inspect
import pickle
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchattacks
from torch import Tensor, nn

from ..attacks.base.probe import Probe
from ..errors import InputError, ModelContractError, ReliabilityWarning
from ..numerics.norms import beyond
from ..results.base.result import Result
from .props import (
    Broken,
    example_images,
    half_frozen,
    require,
    same_state,
    state,
    victim_and_labels,
)
from .victims import small_net

Make = Callable[[nn.Module], Probe]


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        yield


def check_probe(
    make: Make, *, shape: tuple[int, ...] = (1, 8, 8), n: int = 10
) -> tuple[str, ...]:
    """Run the whole contract on `make`, a function from a model to a probe.

    Returns the names of its checks.

    make: is called with fresh models, say ``lambda model: PRTest(model, eps=0.1, n_max=200)``;
    it must pass nothing else to the probe than settings. shape: of one image; a convolutional
    net stands in where it is (C, H, W). n: number of images. Raises AssertionError naming the
    first promise that is broken. Cost: about forty calls and twelve measurements of n images.

    >>> from torchattacks_ext import PRTest
    >>> checks = check_probe(lambda model: PRTest(model, eps=0.1, n_max=100, significance=0.1), n=6)
    >>> len(checks) >= 12
    True
    """
    images = example_images(n, shape)
    checks = (
        _signature,
        _images,
        _model_given_back,
        _exceptions,
        _grad_modes,
        _generators,
        _normalised,
        _zoo,
        _copies,
        _refusals,
        _empty,
        _result,
        _invariance,
    )
    with _quietly():
        for check in checks:
            check(make, shape, images)
    return tuple(check.__name__.strip("_") for check in checks)


def _signature(make: Make, shape: tuple[int, ...], images: Tensor) -> None:
    probe = make(small_net(shape))
    require(probe.citation.lstrip().startswith("@"), "citation is a BibTeX entry")
    require(issubclass(probe.result_type, Result), "result_type is a Result class")
    require(probe.attack in repr(probe), "repr shows the name")
    parameters = inspect.signature(type(probe).__init__).parameters.values()
    any_keyword = any(p.kind is p.VAR_KEYWORD for p in parameters)
    names = {p.name for p in parameters}
    base = set(inspect.signature(Probe.__init__).parameters) - {"self", "name", "model"}
    require(any_keyword or base <= names, f"takes the base's arguments {sorted(base)}")
    for key, value in probe.settings().items():
        require(isinstance(key, str), "settings have string keys")
        require(
            value is None or not isinstance(value, Tensor), "settings are JSON types"
        )


def _images(make: Make, shape: tuple[int, ...], images: Tensor) -> None:
    net, labels = victim_and_labels(shape)
    probe, y = make(net), labels(images)
    before = images.clone()
    found = probe(images, y)
    require(torch.equal(images, before), "a call leaves its input as it is")
    require(found.shape == images.shape, "a call keeps the shape")
    require(found.dtype == images.dtype, "a call keeps the dtype")
    require(not found.requires_grad and found.is_leaf, "images are detached")
    require(bool((found >= 0).all() and (found <= 1).all()), "images stay in [0, 1]")
    outside = beyond(images, found, probe.eps, probe.norm)
    require(not bool(outside.any()), "images stay in the ball")
    require(
        torch.equal(found, make(net)(images, y)), "the same call gives the same images"
    )
    double = probe(images.double(), y)
    require(double.dtype == torch.float64, "a float64 input comes back as float64")


def _model_given_back(make: Make, shape: tuple[int, ...], images: Tensor) -> None:
    net, labels = victim_and_labels(shape)
    probe, y = make(half_frozen(net)), labels(images)
    before = state(net)
    probe(images, y)
    same_state(before, net, "are as before after a call")
    probe.measure(images, y)
    same_state(before, net, "are as before after measure")
    probe.save([(images, y)], None, verbose=False)
    same_state(before, net, "are as before after save")
    probe.get_output_with_eval_nograd(images)
    same_state(before, net, "are as before after get_output_with_eval_nograd")
    for _ in probe.rows(images, y):
        same_state(before, net, "are the caller's own between two rows")


def _exceptions(make: Make, shape: tuple[int, ...], images: Tensor) -> None:
    net, labels = victim_and_labels(shape)
    victim = Broken(half_frozen(net))
    probe, y = make(victim), labels(images)
    channels = [0.0] * images.shape[1], [1.0] * images.shape[1]
    probe.set_normalization_used(*channels)
    for verb in (probe, probe.measure):
        victim.working = False
        before = state(victim)
        try:
            verb(images, y)
            require(not victim.raised, "an exception of the model reaches the caller")
        except ModelContractError as error:
            said = isinstance(error.__cause__, ZeroDivisionError)
            require(said, "a ModelContractError has the model's exception as its cause")
        same_state(before, victim, "are as before after an exception")
        require(probe._normalization_applied is True, "the normalisation flag survives")
        victim.working = True
        require(verb(images, y) is not None, "works again after an exception")


def _grad_modes(make: Make, shape: tuple[int, ...], images: Tensor) -> None:
    net, labels = victim_and_labels(shape)
    probe, y = make(net), labels(images)
    usual = probe(images, y)
    with torch.no_grad():
        require(torch.equal(probe(images, y), usual), "works under no_grad")
        probe.measure(images, y)
        require(not torch.is_grad_enabled(), "no_grad is still on afterwards")
    with torch.inference_mode():
        found = probe(images.clone(), y.clone())
        require(not found.is_inference(), "never returns inference tensors")
        probe.measure(images.clone(), y.clone())
    require(torch.equal(found, usual), "works under inference_mode")
    net(found.requires_grad_()).sum().backward()


def _generators(make: Make, shape: tuple[int, ...], images: Tensor) -> None:
    net, labels = victim_and_labels(shape)
    probe, y = make(net), labels(images)
    torch_state, numpy_state = torch.get_rng_state(), pickle.dumps(
        np.random.get_state()
    )
    probe(images, y)
    probe.measure(images, y)
    require(
        torch.equal(torch_state, torch.get_rng_state()),
        "torch's generator is untouched",
    )
    same = numpy_state == pickle.dumps(np.random.get_state())
    require(same, "numpy's generator is untouched")


def _normalised(make: Make, shape: tuple[int, ...], images: Tensor) -> None:
    net, labels = victim_and_labels(shape)
    y, channels = labels(images), images.shape[1]
    mean, std = [0.25] * channels, [0.5] * channels

    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, inputs: Tensor) -> Any:
            return self.net(inputs * 0.5 + 0.25)

    plain, scaled = make(net), make(Scaled())
    scaled.set_normalization_used(mean, std)
    inputs = (images - 0.25) / 0.5
    found = scaled(inputs, y) * 0.5 + 0.25
    # normalising and back rounds each pixel some times, at a scale of up to 2
    outside = beyond(images, found, plain.eps, plain.norm, 1e-4, roundings=8)
    require(not bool(outside.any()), "normalised: in the ball")
    one, two = plain.measure(images, y), scaled.measure(inputs, y)
    require(one.digest() == two.digest(), "normalised input gives the same decisions")


def _zoo(make: Make, shape: tuple[int, ...], images: Tensor) -> None:
    net, labels = victim_and_labels(shape)
    net.eval()
    y = labels(images)
    multi = torchattacks.MultiAttack([make(net), make(net)])
    require(multi(images, y).shape == images.shape, "works inside MultiAttack")
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "saved.pt")
        scores = make(net).save([(images, y)], path, verbose=False, return_verbose=True)
        saved = torch.load(path, weights_only=True)
        require(scores is not None and 0 <= scores[0] <= 100, "save returns percent")
        require(saved["adv_inputs"].shape == images.shape, "save writes the images")


def _copies(make: Make, shape: tuple[int, ...], images: Tensor) -> None:
    net, labels = victim_and_labels(shape)
    probe, y = make(net), labels(images)
    usual = probe(images, y)
    for twin in (copy.deepcopy(probe), pickle.loads(pickle.dumps(probe))):
        require(torch.equal(twin(images, y), usual), "copies and pickles give the same")


def _refusals(make: Make, shape: tuple[int, ...], images: Tensor) -> None:
    net, labels = victim_and_labels(shape)
    probe, y = make(net), labels(images)
    wrong = {
        "uint8 images": (images * 255).to(torch.uint8),
        "images in [0, 255]": images * 255,
        "normalised images": images * 4 - 2,
        "NaN": torch.where(images > 0.9, float("nan"), images),
    }
    for what, bad in wrong.items():
        for verb in (probe, probe.measure):
            before = state(net)
            with contextlib.suppress(InputError):
                verb(bad, y)
                require(False, f"{what} are refused with an InputError")
            same_state(before, net, f"are as before after {what} were refused")


def _empty(make: Make, shape: tuple[int, ...], images: Tensor) -> None:
    net, labels = victim_and_labels(shape)
    probe, y = make(net), labels(images)
    require(
        probe(images[:0], y[:0]).shape == images[:0].shape, "an empty batch is empty"
    )
    require(len(probe.measure(images[:0], y[:0])) == 0, "an empty measure is empty")


def _result(make: Make, shape: tuple[int, ...], images: Tensor) -> None:
    net, labels = victim_and_labels(shape)
    probe = make(net)
    result = probe.measure(images, labels(images))
    kind = probe.result_type
    require(type(result) is kind and len(result) == len(images), "one row an image")
    again = kind.from_json(result.to_json())
    require(again.to_dict() == result.to_dict(), "JSON there and back changes nothing")
    require(result.cost.forward > 0, "the cost is counted")
    kept = make(net)
    kept.keep = "memory"
    shown = kept.measure(images, labels(images)).images()
    require(shown.shape == images.shape, 'keep="memory" keeps one image a row')


def _invariance(make: Make, shape: tuple[int, ...], images: Tensor) -> None:
    net, labels = victim_and_labels(shape)
    y = labels(images)

    def measure(rows: Any, batch_size: int = 256) -> Any:
        probe = make(net)
        probe.batch_size = batch_size
        return probe.measure(images[rows], y[rows])

    whole, half = measure(slice(None)), len(images) // 2
    for size in (1, 7, 128):
        same = measure(slice(None), size).digest() == whole.digest()
        require(same, f"batch size {size} changes no decision")
    back = torch.arange(len(images) - 1, -1, -1)
    require(measure(back).digest() == whole.digest(), "order changes no decision")
    require(torch.equal(measure(back).ids, whole.ids[back]), "rows are in input order")
    parts = [measure(slice(None, half)), measure(slice(half, None))]
    joined = type(whole).concat(parts)
    require(joined.digest() == whole.digest(), "two halves are the whole")
