"""Do kept images come back as they were, in the order of the rows, or not at all?"""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from torchattacks_ext.errors import InputError, StateError
from torchattacks_ext.results import ProbRobustness, SideCar
from torchattacks_ext.results.base.sidecar import file_sha256, lookup


def pictures(ids: Tensor) -> Tensor:
    """(n, 1, 2, 2): every image tells which id it belongs to."""
    return (ids % 1000).float()[:, None, None, None].expand(-1, 1, 2, 2) / 1000


@pytest.fixture(params=["memory", "file"])
def kept(request: Any, prob: ProbRobustness, tmp_path: Path) -> ProbRobustness:
    """A result whose images lie in two parts, in another order than its rows."""
    cars = []
    for number, rows in enumerate([[4, 1], [0, 3, 2]]):
        ids = prob.ids[rows]
        if request.param == "memory":
            cars.append(SideCar(ids=ids, stored=pictures(ids)))
        else:
            path = tmp_path / f"part{number}.safetensors"
            cars.append(SideCar.save(path, ids, pictures(ids)))
    return replace(prob, sidecars=tuple(cars))


def test_images_come_back_in_row_order(kept: ProbRobustness) -> None:
    assert torch.equal(kept.images(), pictures(kept.ids))


def test_images_follow_sort_select_and_concat(kept: ProbRobustness) -> None:
    ordered = kept.sort()
    assert torch.equal(ordered.images(), pictures(ordered.ids))
    few = kept.select(kept.ids[[3, 0]])
    assert torch.equal(few.images(), pictures(few.ids)) and len(few.images()) == 2
    rest = kept.select(kept.ids[[2, 1, 4]])
    whole = ProbRobustness.concat([rest, few])
    assert torch.equal(whole.images(), pictures(whole.ids))
    assert len(kept.select([]).images()) == 0


def test_a_file_travels_through_json(prob: ProbRobustness, tmp_path: Path) -> None:
    car = SideCar.save(tmp_path / "images.safetensors", prob.ids, pictures(prob.ids))
    there = replace(prob, sidecars=(car,))
    written = json.loads(there.to_json())
    assert written["sidecars"] == [{"path": car.path, "sha256": car.sha256}]
    back = ProbRobustness.from_dict(written)
    assert torch.equal(back.images(), pictures(prob.ids))
    assert back.digest() == prob.digest()


def test_images_in_memory_do_not_travel(prob: ProbRobustness) -> None:
    car = SideCar(ids=prob.ids, stored=pictures(prob.ids))
    there = replace(prob, sidecars=(car,))
    assert there.to_dict()["sidecars"] == [] and "0.007" not in there.to_json()
    assert len(repr(car)) < 100
    with pytest.raises(InputError, match="no images were kept"):
        ProbRobustness.from_json(there.to_json()).images()


def test_the_file_is_safetensors_with_its_own_hash(tmp_path: Path) -> None:
    ids, path = torch.tensor([3, 1]), tmp_path / "new" / "folder" / "images.safetensors"
    car = SideCar.save(path, ids, pictures(ids))
    inside = safetensors.torch.load_file(path)
    assert sorted(inside) == ["ids", "images"] and torch.equal(inside["ids"], ids)
    assert car.sha256 == file_sha256(path) and car.path == str(path)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.skipif(os.name != "posix", reason="permissions of another kind")
def test_the_file_may_be_read_by_whom_the_umask_allows(tmp_path: Path) -> None:
    ids = torch.tensor([3])
    SideCar.save(tmp_path / "a", ids, pictures(ids))
    (tmp_path / "b").write_text("b")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in "ab"}
    assert len(modes) == 1


@pytest.mark.parametrize("byte", [0, 100, -1])
def test_a_tampered_file_is_refused(tmp_path: Path, byte: int) -> None:
    ids = torch.tensor([3, 1])
    car = SideCar.save(tmp_path / "images", ids, pictures(ids))
    data = bytearray((tmp_path / "images").read_bytes())
    data[byte] ^= 1
    (tmp_path / "images").write_bytes(data)
    with pytest.raises(StateError, match="was changed.*SHA-256.*measure again"):
        lookup((car,), ids)


def test_a_file_without_a_known_hash_is_refused(tmp_path: Path) -> None:
    ids = torch.tensor([3, 1])
    car = SideCar.save(tmp_path / "images", ids, pictures(ids))
    with pytest.raises(StateError):
        SideCar(path=car.path).load()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    ids = torch.tensor([3, 1])
    car = SideCar.save(tmp_path / "images", ids, pictures(ids))
    (tmp_path / "images").unlink()
    with pytest.raises(InputError, match="images' is not there"):
        lookup((car,), ids)
    with pytest.raises(InputError, match="is not there"):
        SideCar(path=str(tmp_path), sha256="0").load()


def test_rows_without_a_kept_image_are_counted(prob: ProbRobustness) -> None:
    for rows in ([0, 1], []):
        ids = prob.ids[rows]
        car = SideCar(ids=ids, stored=pictures(ids))
        missing = 5 - len(rows)
        with pytest.raises(InputError, match=f"{missing} of 5 ids have no kept image"):
            replace(prob, sidecars=(car,)).images()


def test_a_save_that_fails_leaves_no_file_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = torch.tensor([3, 1])
    path = tmp_path / "images"
    first = SideCar.save(path, ids, pictures(ids))

    def full_disk(tensors: dict[str, Tensor], filename: Any) -> None:
        Path(filename).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(safetensors.torch, "save_file", full_disk)
    with pytest.raises(InputError, match="No space left"):
        SideCar.save(path, ids, 1 - pictures(ids))
    with pytest.raises(InputError, match="No space left"):
        SideCar.save(tmp_path / "other", ids, pictures(ids))
    assert [p.name for p in tmp_path.iterdir()] == ["images"]
    assert torch.equal(first.load()[1], pictures(ids))


def test_tensors_of_any_layout_are_kept(tmp_path: Path) -> None:
    ids = torch.arange(8)[::2]
    images = torch.rand(4, 3, 5, 5).to(memory_format=torch.channels_last)
    images.requires_grad_(True)
    car = SideCar.save(tmp_path / "images", ids, images)
    found = lookup((car,), ids.flip(0))
    assert torch.equal(found, images.detach().flip(0)) and not found.requires_grad
