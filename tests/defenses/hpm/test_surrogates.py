"""Is every surrogate what its line in the table says, and do all share one trunk?"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from torchattacks_ext import ConfigError, StateError
from torchattacks_ext.attacks.msa.victims.shared import head_of
from torchattacks_ext.defenses.hpm.surrogates import (
    EVERY,
    SINGLE,
    STANDARD,
    MeetingView,
)

from .conftest import Make, images_of

ALL = (*SINGLE, *(f"bpda({name})" for name in SINGLE if name != "ste"))


def test_each_is_what_the_table_says(make: Make) -> None:
    hpm = make()
    stand, images, labels = hpm.surrogates(ALL), images_of(12), torch.arange(12) % 5
    for one in stand.values():
        if isinstance(one, MeetingView):
            one.meet(images, labels)
    z, head = hpm.trunk(images), hpm.head
    assert torch.equal(stand["fc"](images), head.fc(z))
    assert torch.equal(stand["ste"](images), hpm(images))
    soft = {name: head.compare(z, head.mixed(z, "soft", t)) for name, t in
            (("soft", 1), ("soft-0.3", 0.3), ("soft-3", 3))}  # fmt: skip
    assert all(torch.equal(stand[name](images), one) for name, one in soft.items())
    assert torch.equal(stand["dset"](images), head.compare(z, head.mix(head.of_all)))
    hot = nn.functional.one_hot(labels, 5).float()
    assert torch.equal(stand["oracle"](images), head.compare(z, head.mixed_by(z, hot)))
    rest = [head.compare(z[i : i + 1], head.mixed(torch.cat([z[:i], z[i + 1 :]])))
            for i in range(12)]  # fmt: skip
    assert torch.allclose(stand["others"](images), torch.cat(rest), atol=1e-5)
    for name in (
        "fixed",
        "gmsa",
    ):  # on the batch that they met: the value of the target
        assert torch.equal(stand[name](images), hpm(images))
    for name in ALL:
        if name.startswith("bpda"):
            assert torch.equal(stand[name](images), hpm(images))


def test_bpda_has_the_value_of_the_target_and_the_gradient_of_the_other(
    make: Make,
) -> None:
    hpm = make()
    stand, images = (
        hpm.surrogates(("bpda(dset)", "dset")),
        images_of(6).requires_grad_(),
    )
    way = {}
    for name, one in stand.items():
        hpm.head_view.shared.clear()
        (way[name],) = torch.autograd.grad(one(images)[:, 2].sum(), images)
    assert torch.allclose(way["bpda(dset)"], way["dset"], atol=1e-7)
    assert float(way["dset"].abs().max()) > 0


def test_fixed_stays_and_gmsa_follows(make: Make) -> None:
    hpm = make(mixer="convex", share=0.1)
    stand, clean, moved = (
        hpm.surrogates(("fixed", "gmsa")),
        images_of(12),
        images_of(12, 9),
    )
    for one in stand.values():
        one.meet(clean, torch.zeros(12).long())
    first = stand["fixed"](moved)
    for _ in range(EVERY):
        assert torch.equal(stand["gmsa"](moved), first)
    assert torch.equal(stand["gmsa"](moved), hpm(moved))  # now that of the moved batch
    assert torch.equal(stand["fixed"](moved), first) and not torch.equal(
        first, hpm(moved)
    )
    assert stand["gmsa"](moved[:3]).shape == (
        3,
        5,
    )  # a part of the batch renews nothing
    # rows do not depend on each other
    assert torch.allclose(stand["fixed"](moved[:3]), first[:3], atol=1e-6)


def test_one_trunk_for_all_and_the_target(make: Make) -> None:
    hpm = make()
    stand = hpm.surrogates()
    assert tuple(stand) == STANDARD
    shared = head_of(hpm).shared  # type: ignore[union-attr]
    assert all(head_of(one).shared is shared for one in stand.values())  # type: ignore[union-attr]
    images = images_of(6)
    stand["fixed"].meet(images, torch.zeros(6).long())
    with torch.no_grad():
        for one in (*stand.values(), hpm.head_view):
            one(images)
    assert shared.trunk_rows == 6
    assert sum(name.startswith("trunk") for name in hpm.state_dict()) == len(
        hpm.trunk.state_dict()
    )


def test_refusals(make: Make) -> None:
    hpm = make()
    for name in ("sotf", "bpda(ste)", "bpda(bpda(fc))"):
        with pytest.raises(ConfigError, match="no surrogate of HPM"):
            hpm.surrogates((name,))
    for name in ("fixed", "oracle"):
        with pytest.raises(StateError, match="met n"):
            hpm.surrogates((name,))[name](images_of(2))
    bare = make(use_global=False, empty="zero")
    assert "dset" not in bare.surrogates() and "fixed" in bare.surrogates()
