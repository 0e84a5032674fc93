"""What does each stage cost, and is PRTest in an evaluation the PRTest one calls by hand?"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext import PRTest, Verdict, evaluate
from torchattacks_ext.testing import HalfSpace, RateVictim, small_net
from torchattacks_ext.testing.props import example_images

TEST = {"tolerance": 0.2, "significance": 0.1, "n_max": 300}
PRTEST = {"name": "prtest"} | TEST
WEIGHT = torch.tensor([1.0, -1.0]).repeat(8)


# ---------------------------------------------------------------- what it costs
class Counting(nn.Module):
    """Counts its calls, and the rows by the tag in their last pixel, which it does not use."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.rows, self.calls = model, 0, 0
        self.tagged: dict[int, int] = {}

    def forward(self, images: Tensor) -> Tensor:
        self.rows, self.calls = self.rows + len(images), self.calls + 1
        for tag in (images.flatten(1)[:, -1] * 2 + 0.5).int().tolist():
            self.tagged[tag] = self.tagged.get(tag, 0) + 1
        flat = images.flatten(1).clone()
        flat[:, -1] = 0
        return self.model(flat)


@pytest.fixture(scope="module")
def tagged(half_space: Any) -> Any:
    """f(n, wrong): n images, the last `wrong` with a wrong label and a 1 in their last pixel."""

    def tagged(n: int, wrong: int) -> tuple[Counting, Tensor, Tensor]:
        _, images, _ = half_space(n)
        images[:, 0, -1, -1] = 0
        model = Counting(HalfSpace(WEIGHT, 1e-6))
        with torch.no_grad():
            labels = model(images).argmax(1)
        labels[n - wrong :] = 1 - labels[n - wrong :]
        images[n - wrong :, 0, -1, -1] = 1
        model.rows, model.calls, model.tagged = 0, 0, {}
        return model, images, labels

    return tagged


def test_every_row_pass_is_counted_where_it_happens(tagged: Any, run: Any) -> None:
    model, images, labels = tagged(20, wrong=4)
    pgd = {"name": "PGD", "steps": 7, "alpha": 0.02}
    report = run(model, (images, labels), "VANILA", "FGSM", pgd, "DeepFool", PRTEST)
    costs = {s.name: (s.cost.forward, s.cost.backward) for s in report.stages}
    assert costs["clean"] == (20, 0)
    assert costs["VANILA"] == (16, 0)  # the judge
    assert costs["FGSM"] == (16 + 16, 16)
    assert costs["PGD"] == (7 * 16 + 16, 7 * 16)
    result = report["prtest"].result
    assert costs["prtest"] == (int(result.n_drawn.sum() + result.n_close.sum()), 0)
    assert model.rows == report.cost.forward
    known = sum(forward for forward, _ in costs.values())
    assert 0 <= report.cost.forward - known <= 57 + 12
    assert sum(b for _, b in costs.values()) == report.cost.backward
    assert sum(s.cost.seconds for s in report.stages) <= report.cost.seconds
    for stage in report.stages:
        assert stage.result is not None and stage.result.cost == stage.cost


def test_nothing_runs_on_rows_that_are_already_wrong(tagged: Any, run: Any) -> None:
    model, images, labels = tagged(20, wrong=4)
    square, cw = {"name": "Square", "n_queries": 20}, {"name": "CW", "steps": 10}
    named = ["FGSM", "PGD", square, "DeepFool", cw, PRTEST]
    report = run(model, (images, labels), *named)
    assert not report.failed
    # the model is looked at on the first eight rows, all right: only the clean pass is left
    assert model.tagged[2] == 4
    for name in ("FGSM", "prtest"):
        assert report[name].result.verdict[16:].tolist() == [3] * 4


def test_a_batch_that_is_wrong_throughout_costs_one_pass_a_row(
    tagged: Any, run: Any
) -> None:
    model, images, labels = tagged(9, wrong=9)
    report = run(model, (images, labels), "FGSM", "Square", PRTEST, batch_size=4)
    assert [s.cost.forward for s in report.stages] == [9, 0, 0, 0]
    assert [s.error for s in report.stages] == [None] * 4
    assert report.worst_case()["robust_accuracy"] == 0.0
    assert report.gallery == ()


# ---------------------------------------------------------------- PRTest
@pytest.mark.parametrize("reference", ["label", "prediction"])
def test_the_prtest_stage_is_prtest_by_hand(
    reference: str, run: Any, waves: Any
) -> None:
    net, images = waves(), example_images(30)
    labels = net(images).argmax(1)
    labels[::7] = (labels[::7] + 1) % 5
    report = run(net, (images, labels), PRTEST | {"reference": reference}, eps=0.3)
    ours = report["prtest"].result
    probe = PRTest(net, eps=0.3, reference=reference, batch_size=256, **TEST)
    hand = probe.measure(images, labels, ids=ours.ids)
    assert ours.digest() == hand.digest()
    assert ours.to_records() == hand.to_records()
    assert torch.equal(ours.ids, probe.measure(images, labels).ids)
    saved = len(images) if reference == "label" else 0
    assert ours.cost.forward <= hand.cost.forward - saved
    assert {1, 2} < set(ours.verdict.tolist()) and ours.clean_correct.min() < 1


def test_prtest_on_known_rates(run: Any) -> None:
    images, labels = torch.full((4, 1, 4, 4), 0.5), torch.zeros(4, dtype=torch.long)
    data = [{"image": images, "label": labels, "sample_ids": list("abcd")}]
    never = run(RateVictim(0.0), data, PRTEST, eps=0.1)
    assert never["prtest"].result.pra == 1.0 and never.worst_case()["n"] == 4
    always = run(RateVictim(1.0), data, PRTEST, eps=0.1)
    assert always["prtest"].result.count(Verdict.NOT_ROBUST) == 4
    assert always.worst_case()["robust_accuracy"] == 0.0


def test_a_prtest_stage_can_be_resumed_by_the_probe(run: Any) -> None:
    net, images = small_net().eval(), example_images(12)
    labels = net(images).argmax(1)
    short = PRTEST | {"n_max": 60}
    report = run(net, (images, labels), short, eps=0.1)
    probe = PRTest(net, eps=0.1, **TEST)
    longer = probe.measure(images, labels, resume=report["prtest"].result)
    assert longer.digest() == probe.measure(images, labels).digest()


def test_images_are_kept_where_they_were_asked_for(run: Any) -> None:
    net, images = small_net().eval(), example_images(6)
    labels = net(images).argmax(1)
    kept = PRTEST | {"keep": "memory"}
    report = run(net, (images, labels), kept, eps=0.1, batch_size=4)
    assert report["prtest"].result.images().shape == images.shape
    plain = run(net, (images, labels), PRTEST, eps=0.1)
    assert plain["prtest"].result.sidecars == ()


def test_too_small_a_budget_is_flagged_once() -> None:
    net, images = small_net().eval(), example_images(6)
    data = images, net(images).argmax(1)
    with pytest.warns(UserWarning) as seen:
        stages = [PRTEST | {"n_max": 10}]
        report = evaluate(net, data, {"eps": 0.1, "stages": stages, "batch_size": 2})
    assert [flag.code for flag in report.flags] == ["cannot_certify"]
    assert len(seen) == 1 and seen[0].filename == __file__


# ---------------------------------------------------------------- words
def test_notes_tell_what_weakens_an_attack(half_space: Any, run: Any) -> None:
    model, images, labels = half_space()
    pgd = {"name": "PGD", "steps": 2, "alpha": "2/255"}
    report = run(model, (images, labels), pgd, "APGD", "FGSM")
    notes = report["PGD"].notes
    assert any("carry only 28.5 % of the radius" in note for note in notes)
    assert any("depends on how groups are cut" in note for note in notes)
    assert any("reseeds itself" in note for note in report["APGD"].notes)
    assert report["FGSM"].notes == ()
    for stage in report.stages:
        assert stage.settings["guarantee"]


def test_the_same_settings_give_the_same_digest_under_any_label(
    run: Any, attacked: Any
) -> None:
    net, images = small_net().eval(), example_images(10)
    data = images, net(images).argmax(1)
    pgd = {"name": "PGD", "steps": 2, "alpha": 0.03}
    report = run(net, data, pgd, pgd | {"label": "again"}, eps=0.05)
    again = run(net, data, pgd, eps=0.05, seed=1)
    first = attacked(report, "PGD")
    assert first.digest() == attacked(report, "again").digest()
    assert first.to_records() == attacked(report, "again").to_records()
    assert first.margin.tolist() != attacked(again, "PGD").margin.tolist()
