"""Does the ledger keep true books? Against a naive twin, and on victims whose answer is known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from torchattacks_ext.engines.judge.active import Judge
from torchattacks_ext.engines.judge.ledger import AttackSpec, Entry, Ledger, add_entries
from torchattacks_ext.errors import ConfigError, InputError
from torchattacks_ext.models.logits import LogitsView
from torchattacks_ext.models.meter import Meter
from torchattacks_ext.numerics.norms import norm_of, project
from torchattacks_ext.testing import small_net
from torchattacks_ext.testing.props import example_images

NET = small_net().eval().requires_grad_(False)
IMAGES = example_images(6)
LABELS = NET(IMAGES).argmax(1)


def make(
    eps: Any = 0.1,
    norm: Any = "Linf",
    net: Any = NET,
    images: Tensor = IMAGES,
    labels: Tensor = LABELS,
    batch_size: int = 64,
) -> Ledger:
    return Ledger.open(Judge(net, False, batch_size), images, labels, eps, norm)


# ---------------------------------------------------------------- the ball
@pytest.mark.parametrize("norm", ["Linf", "L2", "L1"])
@pytest.mark.parametrize("per_row", [False, True])
def test_candidates_from_outside_land_inside_ball_and_box(
    norm: Any, per_row: bool
) -> None:
    eps: Any = torch.tensor([0.01, 0.02, 0.05, 0.1, 0.3, 0.0]) if per_row else 0.1
    ledger = make(eps, norm)
    far = IMAGES + 3 * torch.randn(
        IMAGES.shape, generator=torch.Generator().manual_seed(0)
    )
    ledger.offer(torch.arange(6), far, "far")
    ledger.margin[:] = np.inf  # whatever is offered now becomes the best
    ledger.alive[:] = True
    ledger.offer(torch.arange(6), far, "far")
    lengths = norm_of(ledger.best - IMAGES, norm)
    limit = torch.as_tensor(eps).expand(6)
    assert bool((lengths <= limit * (1 + 1e-6) + 1e-9).all())
    assert bool((lengths >= 0.2 * limit).all())  # not simply the clean image
    assert bool((ledger.best >= 0).all() and (ledger.best <= 1).all())
    np.testing.assert_allclose(ledger.lengths(), lengths.double().numpy(), rtol=1e-6)


@pytest.mark.parametrize("shape", [(1,), (5,), (7,), (6, 1), ()])
def test_radii_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="eps has shape"):
        make(torch.full(shape, 0.1))


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_non_finite_candidates_are_counted_and_never_asked(odd: float) -> None:
    net = LogitsView(NET, meter=Meter())
    ledger = make(1.0, net=net)
    before, asked = ledger.margin.copy(), net.meter.forward
    found = IMAGES.clone()
    found[[0, 2], 0, 3, 3] = odd
    ledger.offer(torch.arange(6), found, "odd")
    assert ledger.n_odd == 2 and net.meter.forward == asked + 4
    ledger.offer(torch.tensor([4]), torch.full_like(IMAGES[:1], odd), "odd")
    assert ledger.n_odd == 3 and net.meter.forward == asked + 4
    assert bool(ledger.alive.all()) and torch.equal(ledger.best, IMAGES)
    np.testing.assert_array_equal(ledger.margin, before)
    assert ledger.entries["odd"].offers == 2


def test_a_model_that_forgets_does_not_break_a_row_by_its_clean_image() -> None:
    """A non-finite candidate used to be asked as the clean image: here it would have counted."""

    class Once(nn.Module):
        calls = 0

        def forward(self, images: Tensor) -> Tensor:
            self.calls += 1
            return NET(images) * (1 if self.calls == 1 else -1)

    ledger = make(0.1, net=Once())
    ledger.offer(torch.arange(6), torch.full_like(IMAGES, math.nan), "odd")
    assert bool(ledger.alive.all()) and (ledger.breaker == -1).all()


# ---------------------------------------------------------------- dead and alive
def test_wrong_rows_are_dead_from_the_start() -> None:
    labels = LABELS.clone()
    labels[[1, 4]] = (labels[[1, 4]] + 1) % 3
    ledger = make(labels=labels)
    assert ledger.rows().tolist() == [0, 2, 3, 5]
    assert ledger.right.tolist() == [True, False, True, True, False, True]
    assert (ledger.breaker == -1).all()
    np.testing.assert_array_equal(ledger.prediction, LABELS.numpy())


def test_dead_rows_are_never_touched_or_asked_again() -> None:
    net = LogitsView(NET, meter=Meter())
    labels = LABELS.clone()
    labels[3] = (labels[3] + 1) % 3
    ledger = make(1.0, net=net, labels=labels)
    black = torch.zeros_like(IMAGES)
    ledger.alive[0] = False
    kept = ledger.best.clone(), ledger.margin.copy(), ledger.prediction.copy()
    asked = net.meter.forward
    alive = ledger.offer(torch.tensor([0, 3]), black[:2], "late")
    assert alive.tolist() == [False, False] and net.meter.forward == asked
    assert torch.equal(ledger.best, kept[0])
    np.testing.assert_array_equal(ledger.margin, kept[1])
    np.testing.assert_array_equal(ledger.prediction, kept[2])
    assert ledger.entries["late"].broken == 0


@pytest.mark.parametrize("label, broken", [(0, False), (1, True)])
def test_a_tie_counts_as_argmax_decides_it(label: int, broken: bool) -> None:
    class Tied(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            first = images.flatten(1)[:, :1]
            right = (first > 0.4).float() * 2
            one_hot = nn.functional.one_hot(torch.tensor([label]), 3).float()
            return right * one_hot  # all three are 0 below .4

    image = torch.full((1, 1, 2, 2), 0.5)
    ledger = make(0.2, net=Tied(), images=image, labels=torch.tensor([label]))
    alive = ledger.offer(torch.tensor([0]), image - 0.2, "tie")
    assert bool(alive) is not broken and float(ledger.margin[0]) == 0.0
    assert int(ledger.breaker[0]) == (0 if broken else -1)
    assert int(ledger.prediction[0]) == 0


def test_gates_let_on_only_rows_whose_margin_fell() -> None:
    ledger = make()
    ledger.clean_margin[:] = [1, 1, 1, 2, 2, 2]
    ledger.margin[:] = [0.1, 0.5, 1, 0.1, 1, 1.9]
    ledger.alive[0] = False
    assert ledger.rows().tolist() == [1, 2, 3, 4, 5]
    assert ledger.rows(0.5).tolist() == [3]
    assert ledger.rows(0.51).tolist() == [1, 3, 4]
    assert ledger.rows(0.01).tolist() == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "pgd"},
        {"kind": "apgd", "loss": "l2"},
        {"kind": "apgd", "steps": 0},
        {"kind": "apgd", "steps": 2.0},
        {"kind": "apgd", "restarts": -1},
        {"kind": "apgd-t", "targets": 0},
        {"kind": "apgd", "gate": -0.1},
        {"kind": "apgd", "gate": math.nan},
    ],
)
def test_lines_of_a_plan_that_mean_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        AttackSpec(**wrong)


# ---------------------------------------------------------------- the twin
class Twin:
    """The same books, kept one row at a time in Python."""

    def __init__(self, eps: float, norm: Any) -> None:
        self.eps, self.norm = eps, norm
        self.margin = [self.ask(x, y)[0] for x, y in zip(IMAGES, LABELS)]
        self.best = [x.clone() for x in IMAGES]
        self.prediction = LABELS.tolist()
        self.breaker, self.lead = [""] * 6, [""] * 6
        self.odd, self.broken, self.offers = 0, {}, {}  # type: Any

    @staticmethod
    def ask(image: Tensor, label: Tensor) -> tuple[float, int]:
        logits = NET(image[None])[0]
        others = [float(z) for j, z in enumerate(logits) if j != int(label)]
        return float(logits[label]) - max(others), int(logits.argmax())

    def offer(self, rows: list[int], found: Tensor, source: str) -> None:
        self.offers[source] = self.offers.get(source, 0) + 1
        self.broken.setdefault(source, 0)
        for row, candidate in zip(rows, found):
            if self.breaker[row]:
                continue
            if not bool(torch.isfinite(candidate).all()):
                self.odd += 1
                continue
            clean = IMAGES[row]
            inside = project(clean[None], candidate[None], self.eps, self.norm)[0]
            margin, answer = self.ask(inside, LABELS[row])
            if margin < self.margin[row] or answer != int(LABELS[row]):
                self.margin[row], self.best[row] = margin, inside
                self.prediction[row], self.lead[row] = answer, source
            if answer != int(LABELS[row]):
                self.breaker[row] = source
                self.broken[source] += 1


OFFERS = st.lists(
    st.tuples(
        st.lists(st.integers(0, 5), min_size=1, max_size=6, unique=True),
        st.integers(0, 10**6),
        st.sampled_from([0.05, 0.3, 1.0]),
        st.sampled_from(["a/x", "b/x", "b/y"]),
        st.booleans(),
    ),
    max_size=8,
)


@given(OFFERS, st.sampled_from(["Linf", "L2", "L1"]), st.sampled_from([1, 4, 64]))
def test_random_offers_give_the_books_of_the_naive_twin(
    offers: Any, norm: Any, batch_size: int
) -> None:
    eps = {"Linf": 0.4, "L2": 3.0, "L1": 20.0}[norm]
    ledger, twin = make(eps, norm, batch_size=batch_size), Twin(eps, norm)
    for rows, seed, size, source, odd in offers:
        noise = torch.randn(
            (len(rows), *IMAGES.shape[1:]),
            generator=torch.Generator().manual_seed(seed),
        )
        found = IMAGES[rows] + size * noise
        if odd:
            found[0, 0, 0, 0] = math.nan
        alive = ledger.offer(torch.tensor(rows), found, source)
        twin.offer(rows, found, source)
        assert alive.tolist() == [not twin.breaker[row] for row in rows]
    named = ["", *ledger.sources]
    assert [named[i + 1] for i in ledger.breaker] == twin.breaker
    assert [named[i + 1] for i in ledger.lead] == twin.lead
    assert ledger.prediction.tolist() == twin.prediction
    torch.testing.assert_close(ledger.best, torch.stack(twin.best), atol=1e-6, rtol=0)
    np.testing.assert_allclose(ledger.margin, twin.margin, atol=1e-5)
    assert ledger.n_odd == twin.odd
    assert {k: v.broken for k, v in ledger.entries.items()} == twin.broken
    assert {k: v.offers for k, v in ledger.entries.items()} == twin.offers
    assert sum(twin.broken.values()) == int((ledger.breaker >= 0).sum())


def test_entries_add_up() -> None:
    one = {"a": Entry(1, 2, 3, 4, 5, 6, 7.0), "b": Entry(tried=1)}
    two = {"c": Entry(tried=9), "a": Entry(10, 20, 30, 40, 50, 60, 70.0)}
    both = add_entries(one, two)
    assert both["a"] == Entry(11, 22, 33, 44, 55, 66, 77.0)
    assert list(both) == ["a", "b", "c"] and both["c"].tried == 9
    assert one["a"].tried == 1  # neither is written to


def test_a_gate_of_none_is_for_the_own_engine_alone() -> None:
    """Rows of which gradients say nothing: no other engine knows them."""
    assert AttackSpec("apgd", gate=0).is_own and not AttackSpec("apgd").is_own
