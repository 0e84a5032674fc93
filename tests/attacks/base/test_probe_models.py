"""Does a probe give the same answers for every kind of model?"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext import ConfigError, ModelContractError, ReliabilityWarning
from torchattacks_ext.testing import small_net
from torchattacks_ext.testing.props import example_images

IMAGES = example_images(6)


# ---------------------------------------------------------------- kinds of models


FORMS = {
    "tuple": lambda z: (z, z.sum()),
    "dict": lambda z: {"logits": z, "hidden": z * 0},
    "object": lambda z: SimpleNamespace(logits=z),
}


@pytest.mark.parametrize("form", FORMS)
def test_outputs_of_every_form_give_the_same_decisions(
    net: nn.Module, form: str, labels_of: Any, quick: Any, wrapped: Any
) -> None:
    y = labels_of(net)
    whole = quick(net).measure(IMAGES, y)
    assert quick(wrapped(FORMS[form])).measure(IMAGES, y).digest() == whole.digest()


def test_probabilities_when_told(
    net: nn.Module, labels_of: Any, quick: Any, wrapped: Any
) -> None:
    y = labels_of(net)
    probs = quick(wrapped(lambda z: z.softmax(1)), outputs="probs").measure(IMAGES, y)
    assert probs.verdict.tolist() == quick(net).measure(IMAGES, y).verdict.tolist()
    with pytest.warns(ReliabilityWarning, match="looks_like_probs"):
        quick(wrapped(lambda z: z.softmax(1))).measure(IMAGES, y)


def test_one_logit_is_a_binary_model(wrapped: Any, quick: Any) -> None:
    net = wrapped(lambda z: z[:, :1])
    y = (net.net(IMAGES)[:, 0] > 0).long()
    flat = wrapped(lambda z: z[:, 0])
    two = wrapped(lambda z: torch.stack([z[:, 0] * 0, z[:, 0]], 1))
    expected = quick(two).measure(IMAGES, y).digest()
    assert quick(net).measure(IMAGES, y).digest() == expected
    assert quick(flat).measure(IMAGES, y).digest() == expected


def test_a_plain_callable_and_a_model_without_parameters(
    net: nn.Module, capsys: pytest.CaptureFixture[str], labels_of: Any, quick: Any
) -> None:
    y = labels_of(net)
    expected = quick(net).measure(IMAGES, y).digest()
    assert quick(lambda images: net(images)).measure(IMAGES, y).digest() == expected

    class Bare(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.flatten(1)[:, :3]

    first = IMAGES.flatten(1)[:, :3].argmax(1)
    assert len(quick(Bare()).measure(IMAGES, first)) == len(IMAGES)
    assert quick(Bare())(IMAGES, first).shape == IMAGES.shape
    assert capsys.readouterr().out == ""


def test_data_parallel_is_named_by_what_is_inside(
    net: nn.Module, quick: Any, labels_of: Any
) -> None:
    probe = quick(nn.DataParallel(net))
    assert probe.model_name == "Sequential"
    y = labels_of(net)
    assert probe.measure(IMAGES, y).digest() == quick(net).measure(IMAGES, y).digest()


def test_a_compiled_model(labels_of: Any, quick: Any) -> None:
    net = small_net().eval()
    compiled = torch.compile(net, backend="eager")
    y = labels_of(net)
    assert quick(compiled).model_name == "Sequential"
    expected = quick(net).measure(IMAGES, y).digest()
    assert quick(compiled).measure(IMAGES, y).digest() == expected


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_half_bf16_and_double_models(dtype: torch.dtype, quick: Any) -> None:
    net = small_net().eval().to(dtype)
    y = net(IMAGES.to(dtype)).argmax(1)
    probe = quick(net)
    assert probe(IMAGES, y).dtype == torch.float32
    assert probe(IMAGES.to(dtype), y).dtype == dtype
    result = probe.measure(IMAGES, y)
    assert torch.isfinite(result.clean_margin).all()
    seen = []
    net.register_forward_hook(lambda m, i, o: seen.append(o.dtype))
    with torch.no_grad():
        logits = probe.get_logits(IMAGES.to(dtype))
    assert seen == [dtype]
    assert logits.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


@pytest.mark.parametrize("shape", [(12,), (4, 3)])
def test_tabular_and_token_embeddings(
    shape: tuple[int, ...], labels_of: Any, quick: Any
) -> None:
    net = small_net(shape).eval()
    images = example_images(5, shape) * 4 - 2
    y = labels_of(net, images)
    result = quick(net, bounds=None).measure(images, y)
    assert (result.clean_correct == 1).all() and (result.n_samples > 0).all()
    assert quick(net, bounds=None)(images, y).shape == images.shape


def test_a_model_moved_after_construction_is_followed(
    labels_of: Any, quick: Any
) -> None:
    net = small_net().eval()
    y = labels_of(net)
    probe = quick(net)
    net.double()
    assert probe(IMAGES, y).dtype == torch.float32
    assert probe.device == torch.device("cpu")
    net.to("meta")
    assert probe.device == torch.device("meta")


def test_what_is_no_model_is_refused(quick: Any) -> None:
    with pytest.raises(ConfigError, match="expected a Module or a callable"):
        quick("resnet18")
    with pytest.raises(ModelContractError, match=r"\(6, K\)"):
        quick(lambda images: images).measure(IMAGES, torch.zeros(6))
