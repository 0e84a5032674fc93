"""Does `evaluate` give the same honest report for any form of the data?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from torchattacks_ext import (
    ConfigError,
    EvaluationReport,
    InputError,
    evaluate,
)
from torchattacks_ext.testing.props import example_images

PRTEST = {"name": "prtest", "tolerance": 0.2, "significance": 0.1, "n_max": 300}
PLAN = {"eps": 0.03, "stages": ["FGSM", PRTEST]}


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Waves(nn.Module):
    """A linear net on images of 64 numbers; its answers are many, its logits not near a tie."""

    def __init__(self, n_classes: int = 5) -> None:
        super().__init__()
        place, klass = torch.arange(1, 65), torch.arange(n_classes)[:, None]
        self.weight = nn.Parameter((place * (1.37 * klass + 2.1)).sin())

    def forward(self, images: Tensor) -> Tensor:
        return (images.flatten(1) - 0.5) @ self.weight.T


def wrong_at(model: nn.Module, images: Tensor, every: int = 7) -> Tensor:
    """The model's answers, each `every`-th moved to the next class."""
    with torch.no_grad():
        labels = model(images).argmax(1)
    labels[::every] = (labels[::every] + 1) % 3
    return labels


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


NET = Waves()
IMAGES = towards_the_border(NET, example_images(30), range(1, 5))
LABELS = wrong_at(NET, IMAGES)


def numbers(report: EvaluationReport) -> list[Any]:
    """What must not depend on the form of the data."""
    assert not report.failed
    digests = [stage.result.digest() for stage in report.stages if stage.result]
    return [*digests, report.data, report.worst_case()]


@pytest.fixture(scope="module")
def reference() -> EvaluationReport:
    return evaluate(NET, (IMAGES, LABELS), PLAN)


# ---------------------------------------------------------------- forms of the data
class Pairs(Dataset):
    def __len__(self) -> int:
        return len(IMAGES)

    def __getitem__(self, k: int) -> Any:
        return IMAGES[k], int(LABELS[k])


class Dicts(Pairs):
    def __getitem__(self, k: int) -> Any:
        return {"pixel_values": IMAGES[k], "label": LABELS[k]}


class Endless(IterableDataset):
    def __iter__(self) -> Iterator[Any]:
        for k in range(10**9):
            assert k < 40, "rows beyond n were read"
            yield IMAGES[k % 30], LABELS[k % 30]


def batches(size: int) -> Iterator[Any]:
    for start in range(0, len(IMAGES), size):
        part = slice(start, start + size)
        yield [IMAGES[part], LABELS[part].tolist()]


FORMS = {
    "numpy pair": lambda: (IMAGES.numpy(), LABELS.numpy()),
    "labels in a list": lambda: (IMAGES, LABELS.tolist()),
    "labels (N, 1)": lambda: (IMAGES, LABELS[:, None]),
    "tensor data set": lambda: TensorDataset(IMAGES, LABELS),
    "data set": Pairs,
    "data set of dicts": Dicts,
    "loader": lambda: DataLoader(Pairs(), batch_size=7),
    "loader of dicts": lambda: DataLoader(Dicts(), batch_size=64),
    "generator": lambda: batches(11),
    "list of batches": lambda: list(batches(1)),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_data_gives_the_same_numbers(
    form: str, reference: EvaluationReport
) -> None:
    assert numbers(evaluate(NET, FORMS[form](), PLAN)) == numbers(reference)


def test_the_reference_is_worth_comparing(reference: EvaluationReport) -> None:
    clean, fgsm, test = (stage.result for stage in reference.stages)
    assert clean.clean_accuracy == 25 / 30
    assert 0 < fgsm.robust_accuracy < clean.clean_accuracy
    assert {1, 2, 3} <= set(test.verdict.tolist())
    assert reference.data["n"] == 30 and reference.data["shape"] == [1, 8, 8]
    assert sum(reference.data["class_counts"]) == 30


@pytest.mark.parametrize("size", [1, 7, 64])
def test_the_batch_size_changes_no_number(
    size: int, reference: EvaluationReport
) -> None:
    other = evaluate(NET, (IMAGES, LABELS), PLAN | {"batch_size": size})
    assert numbers(other) == numbers(reference)
    for ours, theirs in zip(other.stages, reference.stages):
        assert ours.cost.forward == theirs.cost.forward
    assert [g.id for g in other.gallery] == [g.id for g in reference.gallery]


def test_given_ids_are_kept() -> None:
    names = [f"image {k}" for k in range(30)]
    data = [{"images": IMAGES, "labels": LABELS, "sample_ids": names}]
    report = evaluate(NET, data, PLAN)
    ids = report["clean"].result.ids
    for stage in report.stages:
        assert torch.equal(stage.result.ids, ids)
    assert len(ids.unique()) == 30


# ---------------------------------------------------------------- n
@pytest.mark.parametrize(
    "form", ["pair", "loader", "generator", "data set", "iterable", "dicts"]
)
def test_n_takes_the_first_images(form: str, reference: EvaluationReport) -> None:
    data = {
        "pair": (IMAGES, LABELS),
        "loader": DataLoader(Pairs(), batch_size=4),
        "generator": batches(4),
        "data set": Pairs(),
        "iterable": Endless(),
        "dicts": DataLoader(Dicts(), batch_size=3),
    }[form]
    report = evaluate(NET, data, PLAN | {"batch_size": 8}, n=10)
    assert report.data["n"] == 10
    for ours, theirs in zip(report.stages, reference.stages):
        first = theirs.result.select(theirs.result.ids[:10])
        assert ours.result.digest() == first.digest()


def test_n_reads_no_further() -> None:
    def loader() -> Iterator[Any]:
        yield IMAGES[:4], LABELS[:4]
        yield IMAGES[4:8], LABELS[4:8]
        raise AssertionError("a batch beyond n was loaded")

    for n in (6, 8):
        assert evaluate(NET, loader(), PLAN, n=n).data["n"] == n
    # rows that are not evaluated are not checked either
    images, labels = IMAGES.clone(), LABELS.clone()
    images[20], labels[21] = torch.nan, 99
    assert evaluate(NET, (images, labels), PLAN, n=20).data["n"] == 20
    assert evaluate(NET, (IMAGES, LABELS), PLAN, n=99).data["n"] == 30


@pytest.mark.parametrize("n", [0, -1, 2.5, True, "3"])
def test_another_n_is_refused(n: Any) -> None:
    with pytest.raises(InputError, match="n=.*integer >= 1, or None"):
        evaluate(NET, (IMAGES, LABELS), PLAN, n=n)


# ---------------------------------------------------------------- refusals
def test_empty_data_are_refused() -> None:
    empty = IMAGES[:0], LABELS[:0]
    for data in (empty, [], [empty], TensorDataset(*empty), iter([])):
        with pytest.raises(InputError, match="the data are empty"):
            evaluate(NET, data, PLAN)


WRONG_DATA = {
    "no labels": IMAGES,
    "labels None": (IMAGES, None),
    "batches without labels": [IMAGES],
    "too few labels": (IMAGES, LABELS[:3]),
    "class 5 of 5": (IMAGES, LABELS + 5),
    "0..255": (IMAGES * 255, LABELS),
    "uint8": ((IMAGES * 255).to(torch.uint8), LABELS),
    "nan": (IMAGES * torch.nan, LABELS),
    "number": 5,
}


@pytest.mark.parametrize("case", WRONG_DATA)
def test_wrong_data_are_refused_at_the_door(case: str) -> None:
    with pytest.raises(InputError):
        evaluate(NET, WRONG_DATA[case], PLAN)


def test_a_model_that_cannot_be_called_is_refused() -> None:
    with pytest.raises(ConfigError, match="model is int, expected a Module"):
        evaluate(5, (IMAGES, LABELS), PLAN)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_grad_modes_of_the_caller_change_nothing(
    mode: Any, reference: EvaluationReport
) -> None:
    with mode():
        images, labels = IMAGES.clone(), LABELS.clone()
        report = evaluate(NET, (images, labels), PLAN)
        loaded = evaluate(NET, DataLoader(Pairs(), batch_size=7), PLAN)
    assert numbers(report) == numbers(loaded) == numbers(reference)
    for stage in (*report.stages, *loaded.stages):
        for spec in stage.result.columns():
            assert not getattr(stage.result, spec.name).is_inference()
        assert not stage.result.ids.is_inference()
    for item in report.gallery:
        assert not item.clean.is_inference() and not item.worst.is_inference()


# ---------------------------------------------------------------- the report
def test_the_report_comes_back_from_json(reference: EvaluationReport) -> None:
    text = reference.to_json()
    again = EvaluationReport.from_json(text)
    assert again.to_dict() == reference.to_dict() == json.loads(text)
    assert numbers(again) == numbers(reference)
    assert torch.equal(again.survivors(), reference.survivors())
    for ours, theirs in zip(again.gallery, reference.gallery):
        assert torch.equal(ours.worst, theirs.worst)


def test_the_report_says_what_was_measured(reference: EvaluationReport) -> None:
    assert reference.name == "Waves" and reference.model["parameters"] == 5 * 64
    assert reference.plan["eps"] == 0.03 and len(reference.plan["stages"]) == 2
    assert [stage.name for stage in reference.stages] == ["clean", "FGSM", "prtest"]
    assert [stage.kind for stage in reference.stages] == ["clean", "attack", "prtest"]
    assert reference.provenance["versions"]["torch"]
    assert evaluate(NET, (IMAGES, LABELS), PLAN, name="mine", n=3).name == "mine"
    other = evaluate(NET, (IMAGES.flip(0), LABELS.flip(0)), PLAN)
    assert other.data["sha256"] == reference.data["sha256"]
    fewer = evaluate(NET, (IMAGES, LABELS), PLAN, n=29)
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
def test_the_same_on_a_gpu(reference: EvaluationReport) -> None:
    report = evaluate(Waves().cuda(), (IMAGES, LABELS), PLAN)
    assert numbers(report) == numbers(reference)
    assert [g.id for g in report.gallery] == [g.id for g in reference.gallery]
    assert report.provenance["device"] == "cuda:0"
