"""What does an image get in which batch? Batches asked at once are batches asked one by one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from torchattacks_ext import ConfigError, InputError
from torchattacks_ext.defenses import BatchReport, HPMModel, batch_report
from torchattacks_ext.defenses.hpm.company import KINDS, partition
from torchattacks_ext.defenses.hpm.others import Others, batch_answers

from .conftest import Make, images_of

CASES: list[dict[str, Any]] = [
    {},
    {"empty": "zero", "assign": "hard"},
    {"mixer": "convex", "share": 0.0},
    {"assign": "soft"},
    {"use_global": False, "empty": "zero", "distance": "dot"},
    {"assign": "none", "distance": "l2sq"},
]


def without_itself(hpm: HPMModel, z: Tensor) -> Tensor:
    """Row by row: prototypes of the others, the row compared with them."""
    head, rows = hpm.head, []
    for i in range(len(z)):
        others = torch.cat([z[:i], z[i + 1 :]])
        mixed = (
            head.of_data(z) if len(others) == 0 and head.settings.use_global else None
        )
        if mixed is None or head.settings.empty == "zero":
            mixed = head.mixed(others)
        rows.append(head.compare(z[i : i + 1], mixed))
    return torch.cat(rows)


@pytest.mark.parametrize("case", CASES)
def test_batches_at_once_are_batches_one_by_one(
    make: Make, case: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    hpm = make(**case)
    monkeypatch.setattr("torchattacks_ext.defenses.hpm.others.LARGE", 600)
    with torch.no_grad():
        z = hpm.trunk(images_of(24)).reshape(4, 6, -1)
        for leave_out in (False, True):
            found = batch_answers(hpm.head, z, leave_out)
            for batch, own in zip(z, found):
                truth = without_itself(hpm, batch) if leave_out else hpm.head(batch)
                if case.get("assign") == "none":
                    truth = hpm.head(batch)
                assert torch.allclose(own, truth, rtol=1e-4, atol=1e-5)
        moved = batch_answers(hpm.head, z, True) - batch_answers(hpm.head, z)
    assert (float(moved.abs().max()) > 0) == (case.get("assign") != "none")


@pytest.mark.parametrize("empty", ["global", "zero"])
def test_a_row_alone_is_its_own_prototype_until_it_is_left_out(
    make: Make, empty: Any
) -> None:
    hpm = make(mixer="convex", share=0.0, empty=empty)
    images = images_of(100)
    with torch.no_grad():
        z = hpm.trunk(images)
        linear = hpm.head.fc(z).argmax(1)
        one_by_one = torch.cat([hpm(row[None]) for row in images])
        assert torch.equal(one_by_one.argmax(1), linear)
        alone = z.unsqueeze(1)
        assert torch.equal(batch_answers(hpm.head, alone)[:, 0].argmax(1), linear)
        left = batch_answers(hpm.head, alone, leave_out=True)[:, 0]
        empties = hpm.head.of_all if empty == "global" else 0 * hpm.head.of_all
        assert torch.allclose(left, hpm.head.compare(z, empties), atol=1e-5)


def test_a_copy_brings_back_what_was_left_out(make: Make) -> None:
    hpm = make(mixer="convex", share=0.0)
    with torch.no_grad():
        z = hpm.trunk(images_of(9))
        pairs = torch.stack([z, z], 1)
        left = batch_answers(hpm.head, pairs, leave_out=True)[:, 0]
        assert torch.equal(left.argmax(1), hpm.head.fc(z).argmax(1))


def test_the_surrogate_has_a_gradient_through_the_others(make: Make) -> None:
    hpm = make(mixer="convex", share=0.2)
    z = hpm.forward_features(images_of(8)).detach().requires_grad_()
    said = hpm.head.fc_logits(z).argmax(1)
    logits = Others(hpm.head)(z)
    (way,) = torch.autograd.grad(logits[0, said[0]], z)
    same = said == said[0]
    assert bool((way[same].abs().sum(1) > 0).all()) and not way[~same].any()
    (stand,) = hpm.surrogates(("others",)).values()
    with torch.no_grad():
        assert torch.allclose(stand(images_of(8)), logits, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_partition_holds_every_row(kind: Any) -> None:
    labels = torch.arange(23) % 3
    for m in (2, 5, 40):
        parts = partition(labels, m, kind, seed=1, number=2)
        rows = torch.cat([part.flatten() for part in parts])
        times = 2 if kind == "copies" else 1
        assert torch.equal(torch.bincount(rows), torch.full((23,), times))
        assert all(part.shape[1] <= m for part in parts if m < 40)
        if kind == "one class":
            for part in parts:
                assert bool((labels[part] == labels[part[:, :1]]).all())
    assert not torch.equal(partition(labels, 5)[0], partition(labels, 5, number=1)[0])


def test_the_report(make: Make) -> None:
    hpm = make(mixer="convex", share=0.0)
    images, labels = images_of(60, 8), torch.arange(60) % 5
    hpm.train()
    before = {name: one.clone() for name, one in hpm.state_dict().items()}
    found = batch_report(hpm, images, labels, partitions=2)
    assert hpm.training
    assert all(torch.equal(one, before[n]) for n, one in hpm.state_dict().items())
    hpm.eval()
    assert {row.m for row in found.rows} == {1, 2, 5, 50, 60}
    one = found.find(1)
    assert one.accuracy == (found.linear,) * 2 and one.as_linear == 1.0
    # alone and without itself nothing is left but the prototypes of the data set
    assert found.find(1, leave_out=True).mean == found.of_all
    assert found.find(2, "copies", leave_out=True).as_linear == 1.0
    assert found.find(60, "mixed").as_linear < 1
    # a batch of all rows has no order
    whole = hpm(images).argmax(1) == labels
    assert found.find(60).accuracy == (float(whole.double().mean()),) * 2
    by_hand = [
        hpm(images[rows]).argmax(1) == labels[rows]
        for part in partition(labels, 5, "one class")
        for rows in part
    ]
    share = float(torch.cat(by_hand).double().mean())
    assert found.find(5, "one class").accuracy[0] == pytest.approx(share)
    again = BatchReport.from_json(found.to_json())
    assert again == found and again.to_json() == found.to_json()
    low, high = found.summary()["m=1, mixed"]["interval"]
    assert low < found.linear < high and repr(found).startswith("BatchReport(n=60")


def test_refusals(make: Make) -> None:
    hpm, images, labels = make(), images_of(4), torch.arange(4)
    found = batch_report(hpm, images, labels, (2, 9), partitions=1)
    assert {row.m for row in found.rows} == {2}
    for sizes in ((0,), (1.5,)):
        with pytest.raises(ConfigError, match="sizes="):
            batch_report(hpm, images, labels, sizes)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="partitions=0"):
        batch_report(hpm, images, labels, partitions=0)
    with pytest.raises(InputError, match="labels run from"):
        batch_report(hpm, images, labels + 3)
    with pytest.raises(InputError, match="no images"):
        batch_report(hpm, images[:0], labels[:0])
    with pytest.raises(InputError, match="were not measured"):
        found.find(3)
    with pytest.raises(InputError, match="damaged"):
        BatchReport.from_dict({"schema": "batch_report/1", "rows": [{}]})
    bare = make(use_global=False, empty="zero")
    assert batch_report(bare, images, labels, (2,), partitions=1).of_all is None
