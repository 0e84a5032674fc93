"""Does `evaluate` give the same honest report for any form of the data?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from torchattacks_ext import ConfigError, EvaluationReport, InputError, evaluate
from torchattacks_ext.testing.props import example_images

PRTEST = {"name": "prtest", "tolerance": 0.2, "significance": 0.1, "n_max": 300}
PLAN = {"eps": 0.03, "stages": ["FGSM", PRTEST]}


def towards_the_border(model: nn.Module, images: Tensor, rows: range) -> Tensor:
    """The images with some rows moved to within 1/256 of the way to another answer."""
    images = images.clone()
    with torch.no_grad():
        answers = model(images).argmax(1)
        for row in rows:
            other = images[(answers != answers[row]).nonzero()[0, 0]]
            low, high, here = 0.0, 1.0, images[row].clone()
            for _ in range(8):
                middle = (low + high) / 2
                images[row] = torch.lerp(here, other, middle)
                stays = model(images[row : row + 1]).argmax(1)[0] == answers[row]
                low, high = (middle, high) if stays else (low, middle)
            images[row] = torch.lerp(here, other, low)
    return images


@pytest.fixture(scope="module")
def images(wave_net: Any) -> Tensor:
    return towards_the_border(wave_net, example_images(30), range(1, 5))


@pytest.fixture(scope="module")
def data(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Images, a few of them beside the border, and labels, a few of them wrong."""
    return images, labels


@pytest.fixture(scope="module")
def reference(wave_net: Any, data: Any) -> EvaluationReport:
    return evaluate(wave_net, data, PLAN)


# ---------------------------------------------------------------- forms of the data
class Pairs(Dataset):
    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, k: int) -> Any:
        return self.images[k], int(self.labels[k])


class Dicts(Pairs):
    def __getitem__(self, k: int) -> Any:
        return {"pixel_values": self.images[k], "label": self.labels[k]}


class Endless(IterableDataset):
    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images, labels

    def __iter__(self) -> Iterator[Any]:
        for k in range(10**9):
            assert k < 40, "rows beyond n were read"
            yield self.images[k % 30], self.labels[k % 30]


def batches(images: Tensor, labels: Tensor, size: int) -> Iterator[Any]:
    for start in range(0, len(images), size):
        part = slice(start, start + size)
        yield [images[part], labels[part].tolist()]


FORMS: dict[str, Any] = {
    "numpy pair": lambda x, y: (x.numpy(), y.numpy()),
    "labels in a list": lambda x, y: (x, y.tolist()),
    "labels (N, 1)": lambda x, y: (x, y[:, None]),
    "tensor data set": TensorDataset,
    "data set": Pairs,
    "data set of dicts": Dicts,
    "loader": lambda x, y: DataLoader(Pairs(x, y), batch_size=7),
    "loader of dicts": lambda x, y: DataLoader(Dicts(x, y), batch_size=64),
    "generator": lambda x, y: batches(x, y, 11),
    "list of batches": lambda x, y: list(batches(x, y, 1)),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_data_gives_the_same_numbers(
    form: str, reference: Any, numbers: Any, wave_net: Any, data: Any
) -> None:
    assert numbers(evaluate(wave_net, FORMS[form](*data), PLAN)) == numbers(reference)


def test_the_reference_is_worth_comparing(reference: EvaluationReport) -> None:
    clean, fgsm, test = (stage.result for stage in reference.stages)
    assert clean.clean_accuracy == 25 / 30
    assert 0 < fgsm.robust_accuracy < clean.clean_accuracy
    assert {1, 2, 3} <= set(test.verdict.tolist())
    assert reference.data["n"] == 30 and reference.data["shape"] == [1, 8, 8]
    assert sum(reference.data["class_counts"]) == 30


@pytest.mark.parametrize("size", [1, 7, 64])
def test_the_batch_size_changes_no_number(
    size: int, reference: EvaluationReport, wave_net: Any, numbers: Any, data: Any
) -> None:
    other = evaluate(wave_net, data, PLAN | {"batch_size": size})
    assert numbers(other) == numbers(reference)
    for ours, theirs in zip(other.stages, reference.stages):
        assert ours.cost.forward == theirs.cost.forward
    assert [g.id for g in other.gallery] == [g.id for g in reference.gallery]


def test_given_ids_are_kept(wave_net: Any, images: Tensor, labels: Tensor) -> None:
    names = [f"image {k}" for k in range(30)]
    named = [{"images": images, "labels": labels, "sample_ids": names}]
    report = evaluate(wave_net, named, PLAN)
    ids = report["clean"].result.ids
    for stage in report.stages:
        assert torch.equal(stage.result.ids, ids)
    assert len(ids.unique()) == 30


# ---------------------------------------------------------------- n
@pytest.mark.parametrize(
    "form", ["pair", "loader", "generator", "data set", "iterable", "dicts"]
)
def test_n_takes_the_first_images(
    form: str, reference: EvaluationReport, wave_net: Any, data: Any
) -> None:
    given = {
        "pair": data,
        "loader": DataLoader(Pairs(*data), batch_size=4),
        "generator": batches(*data, 4),
        "data set": Pairs(*data),
        "iterable": Endless(*data),
        "dicts": DataLoader(Dicts(*data), batch_size=3),
    }[form]
    report = evaluate(wave_net, given, PLAN | {"batch_size": 8}, n=10)
    assert report.data["n"] == 10
    for ours, theirs in zip(report.stages, reference.stages):
        first = theirs.result.select(theirs.result.ids[:10])
        assert ours.result.digest() == first.digest()


def test_n_reads_no_further(images: Tensor, labels: Tensor, wave_net: Any) -> None:
    def loader() -> Iterator[Any]:
        yield images[:4], labels[:4]
        yield images[4:8], labels[4:8]
        raise AssertionError("a batch beyond n was loaded")

    for n in (6, 8):
        assert evaluate(wave_net, loader(), PLAN, n=n).data["n"] == n
    # rows that are not evaluated are not checked either
    odd = images.clone(), labels.clone()
    odd[0][20], odd[1][21] = torch.nan, 99
    assert evaluate(wave_net, odd, PLAN, n=20).data["n"] == 20
    assert evaluate(wave_net, (images, labels), PLAN, n=99).data["n"] == 30


@pytest.mark.parametrize("n", [0, -1, 2.5, True, "3"])
def test_another_n_is_refused(n: Any, wave_net: Any, data: Any) -> None:
    with pytest.raises(InputError, match="n=.*integer >= 1, or None"):
        evaluate(wave_net, data, PLAN, n=n)


# ---------------------------------------------------------------- refusals
def test_empty_data_are_refused(images: Tensor, labels: Tensor, wave_net: Any) -> None:
    empty = images[:0], labels[:0]
    for nothing in (empty, [], [empty], TensorDataset(*empty), iter([])):
        with pytest.raises(InputError, match="the data are empty"):
            evaluate(wave_net, nothing, PLAN)


WRONG_DATA: dict[str, Any] = {
    "no labels": lambda x, y: x,
    "labels None": lambda x, y: (x, None),
    "batches without labels": lambda x, y: [x],
    "too few labels": lambda x, y: (x, y[:3]),
    "class 5 of 5": lambda x, y: (x, y + 5),
    "0..255": lambda x, y: (x * 255, y),
    "uint8": lambda x, y: ((x * 255).to(torch.uint8), y),
    "nan": lambda x, y: (x * torch.nan, y),
    "number": lambda x, y: 5,
}


@pytest.mark.parametrize("case", WRONG_DATA)
def test_wrong_data_are_refused_at_the_door(
    case: str, wave_net: Any, data: Any
) -> None:
    with pytest.raises(InputError):
        evaluate(wave_net, WRONG_DATA[case](*data), PLAN)


def test_a_model_that_cannot_be_called_is_refused(data: Any) -> None:
    with pytest.raises(ConfigError, match="model is int, expected a Module"):
        evaluate(5, data, PLAN)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_grad_modes_of_the_caller_change_nothing(
    mode: Any,
    reference: EvaluationReport,
    wave_net: Any,
    numbers: Any,
    images: Tensor,
    labels: Tensor,
) -> None:
    with mode():
        report = evaluate(wave_net, (images.clone(), labels.clone()), PLAN)
        loaded = evaluate(
            wave_net, DataLoader(Pairs(images, labels), batch_size=7), PLAN
        )
    assert numbers(report) == numbers(loaded) == numbers(reference)
    for stage in (*report.stages, *loaded.stages):
        for spec in stage.result.columns():
            assert not getattr(stage.result, spec.name).is_inference()
        assert not stage.result.ids.is_inference()
    for item in report.gallery:
        assert not item.clean.is_inference() and not item.worst.is_inference()


# ---------------------------------------------------------------- the report
def test_the_report_comes_back_from_json(
    reference: EvaluationReport, numbers: Any
) -> None:
    text = reference.to_json()
    again = EvaluationReport.from_json(text)
    assert again.to_dict() == reference.to_dict() == json.loads(text)
    assert numbers(again) == numbers(reference)
    assert torch.equal(again.survivors(), reference.survivors())
    for ours, theirs in zip(again.gallery, reference.gallery):
        assert torch.equal(ours.worst, theirs.worst)


def test_the_report_says_what_was_measured(
    reference: EvaluationReport, wave_net: Any, images: Tensor, labels: Tensor
) -> None:
    assert reference.name == "Waves" and reference.model["parameters"] == 5 * 64
    assert reference.plan["eps"] == 0.03 and len(reference.plan["stages"]) == 2
    assert [stage.name for stage in reference.stages] == ["clean", "FGSM", "prtest"]
    assert [stage.kind for stage in reference.stages] == ["clean", "attack", "prtest"]
    assert reference.provenance["versions"]["torch"]
    assert evaluate(wave_net, (images, labels), PLAN, name="mine", n=3).name == "mine"
    other = evaluate(wave_net, (images.flip(0), labels.flip(0)), PLAN)
    assert other.data["sha256"] == reference.data["sha256"]
    fewer = evaluate(wave_net, (images, labels), PLAN, n=29)
    assert fewer.data["sha256"] != reference.data["sha256"]


def test_survivors_are_correct_unbroken_and_never_fail(
    reference: EvaluationReport,
) -> None:
    clean, fgsm, test = (stage.result for stage in reference.stages)
    expected = (clean.clean_correct == 1) & (fgsm.verdict != 2) & (test.n_failures == 0)
    assert torch.equal(reference.survivors(), expected)
    worst = reference.worst_case()
    assert worst is not None and 0 < worst["robust_accuracy"] < 1
    assert worst["robust_accuracy"] == float(expected.double().mean())
    assert worst["robust_accuracy"] <= fgsm.robust_accuracy


@pytest.mark.gpu
def test_the_same_on_a_gpu(
    reference: EvaluationReport, numbers: Any, waves: Any, data: Any
) -> None:
    report = evaluate(waves().cuda(), data, PLAN)
    assert numbers(report) == numbers(reference)
    assert [g.id for g in report.gallery] == [g.id for g in reference.gallery]
    assert report.provenance["device"] == "cuda:0"
