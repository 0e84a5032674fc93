"""Are the few images shown the worst ones, and do they do what the report says of them?"""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torchattacks
from torch import Tensor, nn

from torchattacks_ext import ConfigError, PRTest, evaluate
from torchattacks_ext.evaluation import gallery
from torchattacks_ext.numerics.ids import to_hex
from torchattacks_ext.numerics.losses import margins
from torchattacks_ext.testing import HalfSpace
from torchattacks_ext.testing.props import example_images

TEST = {"tolerance": 0.2, "significance": 0.1, "n_max": 300}
PRTEST = {"name": "prtest"} | TEST
WEIGHT = torch.tensor([1.0, -1.0]).repeat(32)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def half_space(n: int = 20) -> tuple[HalfSpace, Tensor, Tensor]:
    """Images (n, 1, 8, 8), the later the nearer to the border: scores n, n-1, ..., 1 (times .1)."""
    scores = torch.arange(n, 0, -1) / 10
    noise = example_images(n).flatten(1) / 10 + 0.45
    noise -= ((noise @ WEIGHT) / 64)[:, None] * WEIGHT
    images = (noise + scores[:, None] / 64 * WEIGHT).reshape(n, 1, 8, 8)
    model = HalfSpace(WEIGHT)
    return model, images, model.labels(images)


def show(model: Any, data: Any, *stages: Any, eps: float = 0.1, **plan: Any) -> Any:
    report = evaluate(model, data, {"eps": eps, "stages": list(stages)} | plan)
    return report, report.gallery


def margin_of(model: nn.Module, image: Tensor, label: int) -> float:
    with torch.no_grad():
        return float(margins(model(image[None]), torch.tensor([label]))[0])


# ---------------------------------------------------------------- what is shown
@pytest.mark.parametrize("size", [3, 7, 256])
def test_prtest_shows_the_six_that_fail_most_often(size: int) -> None:
    model, images, labels = half_space()
    data = images, labels
    report, items = show(model, data, "FGSM", PRTEST, eps=0.3, batch_size=size)
    result = report["prtest"].result
    keys = zip(
        (-result.p_fail).tolist(), result.worst_margin.tolist(), to_hex(result.ids)
    )
    expected = [name for _, _, name in sorted(keys)[:6]]
    assert [item.id for item in items] == expected
    assert items[0].p_fail > items[-1].p_fail > 0
    assert {item.stage for item in items} == {"prtest"}
    for item in items:
        row = to_hex(result.ids).index(item.id)
        assert item.p_fail == float(result.p_fail[row])
        assert item.margin == float(result.worst_margin[row])
        assert item.label == int(labels[row])


def test_the_replayed_draw_has_the_stated_margin_and_prediction() -> None:
    model, images, labels = half_space()
    report, items = show(model, (images, labels), PRTEST, eps=0.3)
    result = report["prtest"].result
    probe = PRTest(model, eps=0.3, **TEST)
    assert any(item.margin < 0 for item in items)
    for item in items:
        row = to_hex(result.ids).index(item.id)
        one = slice(row, row + 1)
        draw = probe.replay(images[one], result.ids[one], result.worst_draw[one])[0]
        assert margin_of(model, draw, item.label) == pytest.approx(
            item.margin, abs=1e-5
        )
        assert int(model(draw[None]).argmax(1)) == item.prediction
        assert (item.prediction != item.label) == (item.margin <= 0)
        assert torch.equal(item.worst, (draw * 255).round().to(torch.uint8))
        assert torch.equal(item.clean, (images[row] * 255).round().to(torch.uint8))
        assert float((draw - images[row]).abs().max()) <= 0.3 * (1 + 1e-6)


def test_without_prtest_the_first_attack_is_shown() -> None:
    model, images, labels = half_space()
    report, items = show(model, (images, labels), "FGSM", "PGD", eps=0.015)
    result = report["FGSM"].result
    order = result.margin.argsort()[:6]
    assert [item.id for item in items] == to_hex(result.ids[order])
    assert {item.stage for item in items} == {"FGSM"}
    assert all(item.p_fail != item.p_fail for item in items)  # nan: nothing was drawn
    for item, row in zip(items, order.tolist()):
        score = 0.1 * (20 - row) - 0.015 * 64  # on paper
        assert item.margin == pytest.approx(score, abs=1e-5)
        assert (item.prediction != item.label) == (item.margin < 0)
        shift = item.worst.int() - item.clean.int()
        assert set(shift.abs().unique().tolist()) <= {3, 4}  # .015 * 255 = 3.8


def test_images_that_never_fail_are_ranked_by_margin_and_cost_no_further_pass() -> None:
    model, images, labels = half_space()
    report, items = show(model, (images, labels), PRTEST, eps=0.001)
    result = report["prtest"].result
    assert result.n_failures.sum() == 0 and len(items) == 6
    assert [item.margin for item in items] == sorted(result.worst_margin.tolist())[:6]
    assert all(item.prediction == item.label for item in items)


def test_images_that_are_wrong_from_the_start_are_not_shown() -> None:
    model, images, labels = half_space()
    labels[-4:] = 1 - labels[-4:]
    for stage in ("FGSM", PRTEST):
        report, items = show(model, (images, labels), stage, eps=0.05)
        wrong = to_hex(report["clean"].result.ids[-4:])
        assert len(items) == 6 and not {item.id for item in items} & set(wrong)


def test_images_without_finite_logits_are_the_worst() -> None:
    class Fragile(HalfSpace):
        def forward(self, images: Tensor) -> Tensor:
            broken = images.flatten(1)[:, :1] > 0.6
            return torch.where(broken, torch.nan, super().forward(images))

    _, images, labels = half_space()
    images[:, 0, 0, 0] = 0.45
    images[5, 0, 0, 0] = 0.59
    model = Fragile(WEIGHT)
    labels = model.labels(images)
    with pytest.warns(UserWarning, match="non_finite"):
        report, items = show(model, (images, labels), PRTEST, eps=0.06)
    shown = {item.id: item for item in items}
    odd = shown[to_hex(report["clean"].result.ids[5:6])[0]]
    assert odd.margin == -torch.inf
    again = type(report).from_json(report.to_json())
    assert [g.margin for g in again.gallery] == [g.margin for g in items]


# ---------------------------------------------------------------- which stage
def break_from(monkeypatch: Any, name: str, batch: int) -> None:
    """An attack that returns the images, and raises from its batch number `batch` on."""
    calls: list[int] = []

    def forward(self: Any, images: Tensor, labels: Tensor) -> Tensor:
        calls.append(1)
        if len(calls) > batch:
            raise ConfigError("boom")
        return images

    monkeypatch.setattr(getattr(torchattacks, name), "forward", forward)


def test_a_stage_that_failed_later_is_not_shown(monkeypatch: Any) -> None:
    model, images, labels = half_space()
    break_from(monkeypatch, "FGSM", 1)
    report, items = show(model, (images, labels), "FGSM", "BIM", group_size=8)
    assert [stage.name for stage in report.failed] == ["FGSM"]
    assert len(items) == 6 and {item.stage for item in items} == {"BIM"}


def test_prtest_is_shown_wherever_it_stands() -> None:
    model, images, labels = half_space()
    for stages in (["FGSM", PRTEST], [PRTEST, "FGSM"]):
        _, items = show(model, (images, labels), *stages, batch_size=8)
        assert {item.stage for item in items} == {"prtest"}
    named = PRTEST | {"label": "draws"}
    _, items = show(model, (images, labels), "FGSM", named)
    assert {item.stage for item in items} == {"draws"}


# ---------------------------------------------------------------- what can be shown
class First(nn.Module):
    """Class 1 where the mean of the image is above one half."""

    def forward(self, images: Tensor) -> Tensor:
        score = images.flatten(1).mean(1) - 0.5
        return torch.stack([-score, score], 1)


@pytest.mark.parametrize(
    ("shape", "n_shown"),
    [((1, 4, 4), 4), ((3, 4, 5), 4), ((2, 4, 4), 0), ((16,), 0), ((3, 4), 0)],
)
def test_only_pictures_are_shown(shape: tuple[int, ...], n_shown: int) -> None:
    images = example_images(4, shape)
    labels = First()(images).argmax(1)
    report, items = show(First(), (images, labels), PRTEST)
    assert not report.failed and len(items) == n_shown
    for item in items:
        assert item.clean.shape == item.worst.shape == shape
        assert item.clean.dtype == item.worst.dtype == torch.uint8


def test_nothing_is_shown_without_bounds_or_without_a_stage_to_show() -> None:
    images = example_images(4)
    labels = First()(images).argmax(1)
    assert show(First(), (images, labels), PRTEST, bounds=None)[1] == ()
    assert show(First(), (images, labels))[1] == ()


def test_other_bounds_are_shown_in_full_range() -> None:
    images = example_images(4) * 2 - 1
    model = First()
    labels = model(images).argmax(1)
    _, items = show(model, (images, labels), PRTEST, bounds=(-1, 1))
    for item in items:
        (row,) = [k for k in range(4) if torch.equal(item.clean, gray(images[k]))]
        assert item.label == int(labels[row])


def gray(image: Tensor) -> Tensor:
    return ((image + 1) / 2 * 255).round().to(torch.uint8)


def test_a_few_images_a_stage_are_held_and_no_batch() -> None:
    held: list[int] = []

    class Watched(gallery.Gallery):
        def offer(self, *arguments: Any) -> None:
            super().offer(*arguments)
            for shelf in self._kept.values():
                assert len(shelf) <= gallery.SIZE
                for kept in shelf:
                    for image in (kept.clean, kept.worst):
                        stored = image.untyped_storage().nbytes()
                        assert stored == image.numel() * image.element_size()
                held.append(len(shelf))

    model, images, labels = half_space()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torchattacks_ext.evaluation.runner.Gallery", Watched)
        _, items = show(model, (images, labels), "FGSM", PRTEST, batch_size=5)
    assert len(items) == max(held) == 6
