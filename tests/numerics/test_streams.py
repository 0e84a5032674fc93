"""Are the streams SplitMix64, uniform, independent of grouping, and free of side effects?"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import cache
from hashlib import blake2b
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from torchattacks_ext.errors import ConfigError, InputError
from torchattacks_ext.numerics.streams import integers, keys, to_signed, uniform, word

RATE = 1e-7  # chance that one of the random tests below fails although all is well
INT64 = st.integers(-(2**63), 2**63 - 1)
KNOWN = [
    6457827717110365317,
    3203168211198807973,
    9817491932198370423,
    4593380528125082431,
    16408922859458223821,
]


def splitmix64(seed: int) -> Iterator[int]:
    """The published generator, word by word: the naive twin."""
    state = seed % 2**64
    while True:
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        z = state
        z = (z ^ z // 2**30) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ z // 2**27) * 0x94D049BB133111EB % 2**64
        yield z ^ z // 2**31


def naive_key(seed: int, sample: int, purpose: str, draw: int) -> int:
    state = seed
    name = int.from_bytes(blake2b(purpose.encode(), digest_size=8).digest(), "little")
    for n in (name, sample, draw):
        state = next(splitmix64(state + n * 0x9E3779B97F4A7C15))
    return state


def test_the_generator_gives_the_published_words() -> None:
    assert [word(1234567, n) for n in range(5)] == KNOWN
    assert list(islice(splitmix64(1234567), 5)) == KNOWN


@settings(deadline=None, max_examples=200)
@given(st.integers(), INT64, st.text(max_size=9), INT64, st.integers(0, 9))
def test_rows_equal_the_naive_twin(
    seed: int, sample: int, name: str, draw: int, n: int
) -> None:
    ids = torch.tensor([sample])
    key = naive_key(seed, sample, name, draw)
    assert keys(seed, ids, name, draw).tolist() == [to_signed(key)]
    expected = [(w >> 40) / 2**24 for w in islice(splitmix64(key), n)]
    row = uniform(seed, ids, name, draw, n)
    assert row.tolist() == [expected] and row.dtype == torch.float32
    first = next(splitmix64(key))
    high = 1 + abs(draw) % 1000
    assert integers(seed, ids, name, draw, high).tolist() == [first // 2 % high]


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(INT64, INT64), min_size=1, max_size=20),
    st.lists(st.integers(1, 5), max_size=20),
    st.randoms(use_true_random=False),
)
def test_any_grouping_gives_the_same_rows(
    pairs: list[tuple[int, int]], sizes: list[int], order: random.Random
) -> None:
    samples, draws = torch.tensor(pairs).T.contiguous()
    whole = uniform(7, samples, "group", draws, 33)
    places = list(range(len(pairs)))
    order.shuffle(places)
    while places:
        n = sizes.pop() if sizes else 1
        part, places = torch.tensor(places[:n]), places[n:]
        assert torch.equal(
            uniform(7, samples[part], "group", draws[part], 33), whole[part]
        )


def test_tiles_leave_no_seams() -> None:
    ids = torch.arange(5) * 977
    wide = uniform(1, ids[:2], "wide", 4, 300_001)
    key = naive_key(1, 977, "wide", 4)
    for j in (0, 65535, 65536, 131071, 131072, 196608, 262144, 300_000):
        assert wide[1, j].item() == (word(key, j) >> 40) / 2**24
    assert torch.equal(wide[:, :1000], uniform(1, ids[:2], "wide", 4, 1000))
    ids = torch.arange(310)
    tall = uniform(1, ids, "tall", ids, 1000)
    ones = [uniform(1, ids[i : i + 1], "tall", i, 1000) for i in range(310)]
    assert torch.equal(tall, torch.cat(ones))


def test_number_of_threads_changes_nothing() -> None:
    before = torch.get_num_threads()
    try:
        rows = []
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            rows.append(uniform(1, torch.arange(70), "threads", 0, 3072))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(rows[0], rows[1]) and torch.equal(rows[0], rows[2])


@cache
def columns() -> dict[str, tuple[Tensor, Tensor]]:
    """Pairs of columns that should be independent uniforms: what varies -> (u, v)."""
    n, ids = 100_000, torch.arange(100_000)
    one = torch.tensor([5])
    row = uniform(0, one, "row", 0, n + 2)[0]

    def of(seed: int, sample: Tensor, purpose: str, draw: Tensor | int) -> Tensor:
        return uniform(seed, sample, purpose, draw, 1)[:, 0]

    names = torch.cat([of(0, one, f"name {i}", 0) for i in range(2001)])
    seeds = torch.cat([of(s, one, "s", 0) for s in range(2001)])
    samples, draws = of(0, ids, "x", 0), of(0, one.expand(n), "x", ids)
    return {
        "lag 1": (row[:-2], row[1:-1]),
        "lag 2": (row[:-2], row[2:]),
        "next id": (samples[:-1], samples[1:]),
        "next draw": (draws[:-1], draws[1:]),
        "same id, next draw": (samples, of(0, ids, "x", 1)),
        "id and draw swapped": (samples, draws),
        "other seed": (samples, of(1, ids, "x", 0)),
        "other purpose": (samples, of(0, ids, "y", 0)),
        "seeds": (seeds[:-1], seeds[1:]),
        "purposes": (names[:-1], names[1:]),
    }


@pytest.mark.parametrize("kind", columns())
def test_columns_are_uniform_and_uncorrelated(kind: str) -> None:
    """Kolmogorov-Smirnov twice, and a bound on the mean product of the two; RATE in all.

    The products (u - 1/2)(v - 1/2) are martingale differences, at most 1/4 and of
    conditional variance at most 1/48: Freedman's inequality bounds their mean.
    """
    first, second = (c.double() for c in columns()[kind])
    n = len(first)
    for column in (first, second):
        assert stats.kstest(column.numpy(), "uniform").pvalue > RATE / 3
    level = math.log(2 / (RATE / 3)) / n
    bound = level / 12 + math.sqrt((level / 12) ** 2 + 2 * level / 48)
    assert ((first - 0.5) * (second - 0.5)).mean().abs() <= bound


def test_every_bit_is_fair() -> None:
    """Exact binomial interval for each of the 24 bits; RATE in all."""
    bits = (
        (uniform(3, torch.arange(100), "bits", 0, 1000) * 2**24)
        .to(torch.int64)
        .flatten()
    )
    low, high = stats.binom.ppf([RATE / 48, 1 - RATE / 48], 100_000, 0.5)
    for k in range(24):
        assert low <= int((bits >> k & 1).sum()) <= high


def test_a_million_keys_do_not_collide() -> None:
    """10 seeds x 10 purposes x 100 ids x 100 draws; a collision by chance: 3e-8."""
    ids = torch.arange(-50, 50).repeat_interleave(100)
    draws = torch.arange(100).repeat(100)
    found = [keys(s, ids, f"purpose {p}", draws) for s in range(10) for p in range(10)]
    assert len(torch.cat(found).unique()) == 10**6


def test_draw_as_a_number_and_as_a_tensor() -> None:
    ids = torch.tensor([4, -9, 2**62])
    for draw in (0, 1, 10**12, -3):
        wanted = uniform(5, ids, "draw", torch.full((3,), draw), 6)
        assert torch.equal(uniform(5, ids, "draw", draw, 6), wanted)
        assert torch.equal(uniform(5, ids, "draw", np.int64(draw), 6), wanted)  # type: ignore


def test_seeds_of_any_size_are_taken_mod_two_to_the_64() -> None:
    ids = torch.arange(3)
    for seed in (-1, 0, 10**30, -(2**70) + 5, np.int32(-8)):
        row = uniform(seed, ids, "seed", 0, 4)  # type: ignore[arg-type]
        assert torch.equal(row, uniform(int(seed) % 2**64, ids, "seed", 0, 4))
    assert not torch.equal(
        uniform(-1, ids, "seed", 0, 4), uniform(1, ids, "seed", 0, 4)
    )


@pytest.mark.parametrize("rows, size", [(0, 0), (0, 5), (4, 0)])
def test_empty_requests(rows: int, size: int) -> None:
    assert uniform(0, torch.arange(rows), "empty", 0, size).shape == (rows, size)
    assert integers(0, torch.arange(rows), "empty", 0, 3).shape == (rows,)


def global_states() -> list[str]:
    """The states of torch's, numpy's and Python's generators, as text."""
    return [
        str(torch.get_rng_state().tolist()),
        str(np.random.get_state()),
        str(random.getstate()),
    ]


def test_global_generators_are_left_alone() -> None:
    ids = torch.arange(8)
    before = global_states()
    uniform(0, ids, "quiet", ids, 100)
    integers(0, ids, "quiet", 0, 10)
    assert global_states() == before


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_inside_modes_without_gradient(
    mode: Callable[[], AbstractContextManager[None]],
) -> None:
    ids = torch.arange(3)
    outside = uniform(0, ids, "mode", ids, 9), integers(0, ids, "mode", ids, 10)
    with mode():
        inner = torch.arange(3)
        assert torch.equal(uniform(0, inner, "mode", ids, 9), outside[0])
        assert torch.equal(integers(0, ids, "mode", inner, 10), outside[1])
    assert torch.equal(uniform(0, inner, "mode", inner, 9), outside[0])
    assert ids.tolist() == inner.tolist() == [0, 1, 2]


def test_nothing_waits_for_the_device() -> None:
    """Meta tensors hold no numbers: whoever asked for one would raise."""
    ids = torch.empty(300, dtype=torch.int64, device="meta")
    assert uniform(0, ids, "meta", ids, 3072).shape == (300, 3072)
    assert integers(0, ids, "meta", 3, ids).device.type == "meta"


@pytest.mark.gpu
def test_cuda_gives_the_bits_of_the_cpu() -> None:
    ids = torch.arange(-100, 100) * 7**20
    there = uniform(9, ids.cuda(), "device", ids.cuda(), 3072)
    here = uniform(9, ids, "device", ids, 3072)
    assert there.is_cuda and torch.equal(there.cpu(), here)
    there = integers(9, ids.cuda(), "device", 1, 1000)
    assert torch.equal(there.cpu(), integers(9, ids, "device", 1, 1000))


def test_integers_are_fair() -> None:
    """Chi-square test of 7 values, KS test of a range of 3 x 2^38 (bias 1e-7); RATE each."""
    ids = torch.arange(70_000)
    counts = integers(0, ids, "label", 0, 7).bincount(minlength=7).numpy()
    assert len(counts) == 7 and stats.chisquare(counts).pvalue > RATE
    high = 3 * 2**38
    wide = integers(0, ids, "wide", 0, high).numpy() / high
    assert wide.min() >= 0 and stats.kstest(wide, "uniform").pvalue > RATE


def test_integers_take_one_high_a_row() -> None:
    high = torch.tensor([1, 2, 3, 1000])
    ids = torch.arange(4)
    drawn = integers(0, ids, "label", 0, high)
    assert bool((drawn >= 0).all() and (drawn < high).all())
    each = [integers(0, i.view(1), "label", 0, int(h)) for i, h in zip(ids, high)]
    assert torch.equal(drawn, torch.cat(each))


def test_streams_are_pinned() -> None:
    """A changed bit would change every stored result."""
    ids = torch.tensor([3])
    assert keys(0, ids, "linf", 7).tolist() == [-5605411457946415113]
    row = uniform(0, ids, "linf", 7, 3) * 2**24
    assert row.tolist() == [[16761238, 5935714, 2141155]]


def test_bad_arguments_are_named() -> None:
    ids = torch.arange(3)
    with pytest.raises(InputError, match=r"ids must be \(B,\) int64.*torch.float32"):
        uniform(0, ids.float(), "x", 0, 2)
    with pytest.raises(InputError, match="ids must be"):
        uniform(0, ids[:, None], "x", 0, 2)
    with pytest.raises(InputError, match="draw must be an int or"):
        uniform(0, ids, "x", torch.arange(2), 2)
    with pytest.raises(InputError, match="size=-1"):
        uniform(0, ids, "x", 0, -1)
    with pytest.raises(ConfigError, match="seed=0.5"):
        uniform(0.5, ids, "x", 0, 2)  # type: ignore[arg-type]
    for high in (0, -3, torch.tensor([1, 0, 2])):
        with pytest.raises(InputError, match="holds no integer"):
            integers(0, ids, "x", 0, high)
