"""Is the right part of a model's output scored, or is it said that nobody can know which it is?"""

from __future__ import annotations

from collections import namedtuple
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext import (
    MSA,
    ConfigError,
    FIMScore,
    ModelContractError,
    PRTest,
    ReliabilityWarning,
    evaluate,
)
from torchattacks_ext.models.broken import model_raised
from torchattacks_ext.models.logits import LogitsView
from torchattacks_ext.models.scores import to_logits
from torchattacks_ext.testing import small_net

Z = torch.tensor([[1.0, -2.0, 0.5], [0.0, 3.0, -1.0]])
H = torch.rand(2, 7, generator=torch.Generator().manual_seed(0))
IMAGES = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
SETTINGS: dict[str, Any] = dict(eps=0.05, tolerance=0.1, significance=0.1, n_max=64)
Pair = namedtuple("Pair", ["features", "prediction"])


# ---------------------------------------------------------------------- which part
@pytest.mark.parametrize(
    ("raw", "names"),
    [
        ((H, Z), r"0 \(2, 7\), 1 \(2, 3\)"),
        ({"features": H, "out": Z}, r"'features' \(2, 7\), 'out' \(2, 3\)"),
        (Pair(H, Z), r"'features' \(2, 7\), 'prediction' \(2, 3\)"),
        (SimpleNamespace(features=H, out=Z), r"'features' \(2, 7\), 'out'"),
        ([H, Z, H.sum()], r"0 \(2, 7\), 1 \(2, 3\)"),
    ],
)
def test_features_beside_logits_are_refused_by_name_and_shape(
    raw: Any, names: str
) -> None:
    with pytest.raises(ModelContractError, match=names + ".*output_key="):
        to_logits(raw, 2)


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        ((H, Z), 1),
        ((H, Z), -1),
        ({"features": H, "out": Z}, "out"),
        ({"features": H, "out": Z}, 1),
        (Pair(H, Z), "prediction"),
        (SimpleNamespace(features=H, out=Z), "out"),
    ],
)
def test_output_key_chooses(raw: Any, key: Any) -> None:
    assert torch.equal(to_logits(raw, 2, key=key), Z)


def test_a_key_that_names_nothing_lists_what_there_is() -> None:
    with pytest.raises(ModelContractError, match=r"output_key='z'.*'out' \(2, 3\)"):
        to_logits({"out": Z}, 2, key="z")
    with pytest.raises(ConfigError, match="output_key=1.5"):
        LogitsView(small_net(), key=1.5)  # type: ignore[arg-type]


class Two(nn.Module):
    """A net that hands out its features first."""

    def __init__(self) -> None:
        super().__init__()
        self.net = small_net().eval()

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        features = self.net[:-1](images)
        return {"features": features, "out": self.net[-1](features)}


def test_features_are_never_scored_in_any_verb() -> None:
    model = Two()
    labels = model.net(IMAGES).argmax(1)
    for make in (PRTest, FIMScore, MSA):
        with pytest.raises(ModelContractError, match="output_key"):
            make(model, eps=0.05).measure(IMAGES, labels)
    with pytest.raises(ModelContractError, match="output_key"):
        evaluate(model, (IMAGES, labels), {"eps": 0.05, "stages": ["FGSM"]})


def test_output_key_gives_the_numbers_of_the_plain_net() -> None:
    model = Two()
    labels = model.net(IMAGES).argmax(1)
    keyed = PRTest(model, output_key="out", **SETTINGS).measure(IMAGES, labels)
    plain = PRTest(model.net, **SETTINGS).measure(IMAGES, labels)
    assert torch.equal(keyed.n_failures, plain.n_failures)
    assert keyed.settings == plain.settings | {"output_key": "out"}
    one, two = (
        FIMScore(net, output_key=key).measure(IMAGES).log_lam
        for net, key in ((model, "out"), (model.net, None))
    )
    assert torch.allclose(one, two)
    plan = {"eps": 0.05, "stages": ["FGSM"], "output_key": "out"}
    report = evaluate(model, (IMAGES, labels), plan)
    assert report["clean"].result.clean_accuracy == 1.0


def test_arrays_are_scores_as_tensors_are() -> None:
    array = Z.double().numpy()
    array.setflags(write=False)
    assert torch.equal(to_logits(array, 2), Z.double())
    assert torch.equal(to_logits({"loss": None, "out": Z.numpy()}, 2), Z)
    with pytest.raises(ModelContractError, match="class numbers"):
        to_logits(Z.argmax(1).numpy(), 2)
    net = small_net().eval()
    labels = net(IMAGES).argmax(1)
    arrays = PRTest(lambda x: net(x).numpy(), **SETTINGS).measure(IMAGES, labels)
    plain = PRTest(net, **SETTINGS).measure(IMAGES, labels)
    assert torch.equal(arrays.verdict, plain.verdict)
    assert arrays.flags == plain.flags


@pytest.mark.parametrize("make", [PRTest, FIMScore, MSA])
def test_a_call_refuses_logits_that_were_promised_to_be_probabilities(
    make: Any,
) -> None:
    net = small_net().eval()
    model = nn.Sequential(net, nn.Hardtanh(-1, 1), nn.Softplus(), nn.Softplus())
    labels = model(IMAGES).argmax(1)
    with pytest.raises(ModelContractError, match=r"outputs=\"probs\", but the model"):
        make(model, outputs="probs")(IMAGES, labels)


# ---------------------------------------------------------------------- which shape
def test_one_row_that_was_squeezed_is_one_row() -> None:
    assert to_logits(Z[0], 1).tolist() == [Z[0].tolist()]
    net = small_net().eval()
    model = LogitsView(lambda images: net(images).squeeze())
    assert torch.equal(model(IMAGES[:1]), net(IMAGES[:1]))


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.bool, torch.uint8])
@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_class_numbers_are_no_scores(dtype: torch.dtype, shape: Any) -> None:
    with pytest.raises(ModelContractError, match="class numbers.*return scores"):
        to_logits(torch.ones(shape, dtype=dtype), 2)


def test_the_advice_on_segmentation_stands_where_the_shape_says_so() -> None:
    with pytest.raises(ModelContractError, match="segmentation"):
        to_logits(torch.zeros(2, 21, 4, 4), 2)
    with pytest.raises(ModelContractError) as error:
        to_logits(torch.zeros(3, 2), 2)
    assert "segmentation" not in str(error.value)


def test_a_single_column_of_probabilities_is_flagged() -> None:
    head = nn.Sequential(nn.Flatten(), nn.Linear(64, 1), nn.Sigmoid()).eval()
    labels = torch.zeros(6, dtype=torch.long)
    with pytest.warns(ReliabilityWarning, match="looks_like_probs"):
        found = PRTest(head, **SETTINGS).measure(IMAGES, labels)
    assert "looks_like_probs" in {flag.code for flag in found.flags}
    told = PRTest(head, outputs="probs", **SETTINGS).measure(IMAGES, labels)
    assert "looks_like_probs" not in {flag.code for flag in told.flags}


# ---------------------------------------------------------------------- the caller's own
@pytest.mark.parametrize(
    "write",
    [
        lambda x: x.sub_(0.5).div_(0.5),
        lambda x: x.relu_(),
        lambda x: x.data.mul_(2),
        lambda x: torch.from_numpy(x.detach().numpy().__imul__(2)),
    ],
    ids=["normalises", "changes nothing yet", "past the version", "through numpy"],
)
def test_a_model_that_works_in_place_gets_copies(write: Any) -> None:
    net = small_net().eval()
    images, kept = IMAGES.clone(), IMAGES.clone()
    labels = net(write(IMAGES.clone())).argmax(1)
    model = LogitsView(lambda x: net(write(x)))
    for grad in (False, True):
        with torch.set_grad_enabled(grad):
            assert torch.equal(model(images).argmax(1), labels)
    assert torch.equal(images, kept) and model.writes is True
    found = PRTest(lambda x: net(write(x)), **SETTINGS).measure(images, labels)
    twin = PRTest(lambda x: net(write(x.clone())), **SETTINGS).measure(images, labels)
    assert torch.equal(found.n_failures, twin.n_failures)
    assert torch.equal(images, kept)
    assert "randomised_model" not in {flag.code for flag in found.flags}


def test_answers_do_not_share_the_models_own_memory() -> None:
    net, out = small_net().eval(), torch.zeros(64, 3)

    def static(images: Tensor) -> Tensor:
        with torch.no_grad():
            out[: len(images)] = net(images)
        return out[: len(images)]

    view = LogitsView(static)
    first = view(IMAGES)
    kept = first.clone()
    view(1 - IMAGES)
    assert torch.equal(first, kept)


# ---------------------------------------------------------------------- its own exceptions
@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (
            TypeError("f() takes 1 positional argument but 2 were given"),
            "lambda images",
        ),
        (AssertionError("Guard failed: x.size()[0] == 8"), "takes 8 rows only"),
        (ValueError("index: 0 Got: 9 Expected: 8 Please fix"), "takes 8 rows only"),
        (ValueError("Expected more than 1 value per channel"), "FrozenBatch"),
        (RuntimeError("Inference tensors cannot be saved for backward"), "load_state"),
    ],
)
def test_a_known_cause_names_its_cure(error: Exception, hint: str) -> None:
    said = str(model_raised(error, torch.zeros(9, 3, 4, 4)))
    assert hint in said and "(9, 3, 4, 4) float32" in said


def test_memory_and_our_own_refusals_pass_through() -> None:
    for error in (MemoryError("full"), torch.cuda.OutOfMemoryError("full")):

        def fails(images: Tensor, error: Any = error) -> Tensor:
            raise error

        with pytest.raises(type(error), match="full"):
            LogitsView(fails)(IMAGES)
