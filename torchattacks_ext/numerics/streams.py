"""How is every random number a function of (seed, sample, purpose, draw)? Counter-based streams.

There is no generator and no state. One word of the SplitMix64 generator (Steele, Lea &
Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014) is a pure function
of a 64-bit state and a counter n,

    word(state, n) = mix(state + (n + 1) * GAMMA)   (mod 2^64),

and a stream is found by walking down a tree of such words, each one the state of the
next level:

    seed -> word(., BLAKE2b-64 of purpose) -> word(., id) -> word(., draw) = key;
    element j of the row = top 24 bits of word(key, j) / 2^24.

Consequences that the tests hold: any mix of samples and draws may share a batch, a row
does not depend on the other rows, a run can be continued by counting on, and the bits
are those of 64-bit integer arithmetic, so every device gives the same ones. For one
seed and purpose different ids have different states (``mix`` is a bijection), and so
have different draws of one id; other coincidences have the probability of a random
64-bit function: that any two of n rows of D numbers overlap (shifted against each
other) has probability n^2 D / 2^64 or so. Not for cryptography.
"""

from __future__ import annotations

import operator
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ConfigError, InputError

_MASK = (1 << 64) - 1
_GAMMA = 0x9E3779B97F4A7C15
_MUL_1 = 0xBF58476D1CE4E5B9
_MUL_2 = 0x94D049BB133111EB
_S27, _S30, _S31 = np.uint64(27), np.uint64(30), np.uint64(31)


def to_signed(number: int) -> int:
    """The int64 with the bits of ``number`` mod 2^64 (two's complement).

    >>> to_signed(2**64 - 1), to_signed(5)
    (-1, 5)
    """
    number &= _MASK
    return number - (1 << 64) if number >> 63 else number


# torch has no full uint64 arithmetic; int64 gives the same bits: add and multiply wrap.
_GAMMA_I, _MUL_1_I, _MUL_2_I = to_signed(_GAMMA), to_signed(_MUL_1), to_signed(_MUL_2)


def word(state: int, n: int) -> int:
    """Word n of the SplitMix64 generator that starts at ``state``, in Python integers.

    Both arguments are taken mod 2^64; the result is in [0, 2^64).

    >>> word(1234567, 0), word(1234567, 1)
    (6457827717110365317, 3203168211198807973)
    """
    z = (state + (n + 1) * _GAMMA) & _MASK
    z = ((z ^ (z >> 30)) * _MUL_1) & _MASK
    z = ((z ^ (z >> 27)) * _MUL_2) & _MASK
    return z ^ (z >> 31)


def hash64(data: bytes) -> int:
    """64-bit BLAKE2b of ``data`` as an integer in [0, 2^64), the same on every machine.

    >>> hash64(b"linf") == hash64(b"linf"), hash64(b"linf") == hash64(b"l2")
    (True, False)
    """
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")


@lru_cache(maxsize=1024)
def _root(seed: int, purpose: str) -> int:
    return word(seed, hash64(purpose.encode()))


def _scramble(z: Tensor, scratch: Tensor) -> Tensor:
    """All of ``mix`` but its last xor-shift, in place; returns z.

    The shift of int64 drags the sign bit along, the mask takes it away again.
    """
    torch.bitwise_right_shift(z, 30, out=scratch)
    z.bitwise_xor_(scratch.bitwise_and_((1 << 34) - 1)).mul_(_MUL_1_I)
    torch.bitwise_right_shift(z, 27, out=scratch)
    return z.bitwise_xor_(scratch.bitwise_and_((1 << 37) - 1)).mul_(_MUL_2_I)


def _mix(z: Tensor) -> Tensor:
    scratch = torch.empty_like(z)
    _scramble(z, scratch)
    torch.bitwise_right_shift(z, 31, out=scratch)
    return z.bitwise_xor_(scratch.bitwise_and_((1 << 33) - 1))


def _check(seed: int, ids: Tensor, draw: int | Tensor) -> tuple[int, int | Tensor]:
    """Seed and draw as Python integers (draw may be a tensor); looks at nothing on the device."""
    if ids.ndim != 1 or ids.dtype != torch.int64:
        raise InputError(f"ids must be (B,) int64, got {tuple(ids.shape)} {ids.dtype}")
    if isinstance(draw, Tensor) and (
        draw.shape != ids.shape or draw.dtype != torch.int64
    ):
        raise InputError(
            f"draw must be an int or (B,) int64 like ids {tuple(ids.shape)}, "
            f"got {tuple(draw.shape)} {draw.dtype}"
        )
    try:
        number = operator.index(seed)
        return number, draw if isinstance(draw, Tensor) else operator.index(draw)
    except TypeError:
        raise ConfigError(f"seed={seed!r} and draw={draw!r} must be integers") from None


def keys(seed: int, ids: Tensor, purpose: str, draw: int | Tensor) -> Tensor:
    """The 64-bit state from which the row of every (seed, id, purpose, draw) is read.

    seed: any Python integer, taken mod 2^64; ids: (B,) int64; purpose: a short name,
    streams of different purposes are unrelated; draw: one int or (B,) int64. Returns
    (B,) int64 on the device of ``ids``. Raises InputError for other shapes or dtypes,
    ConfigError for a seed or a draw that is not an integer. Costs about 30 integer
    operations a row; never waits for the device.

    >>> ids = torch.tensor([7, 8])
    >>> a, b = keys(0, ids, "linf", 3), keys(0, ids, "linf", torch.tensor([3, 4]))
    >>> (a == b).tolist()
    [True, False]
    """
    seed, draw = _check(seed, ids, draw)
    root = _root(seed, purpose)
    if ids.device.type == "cpu":
        return _host_keys(root, ids, draw)
    state = _mix(ids.mul(_GAMMA_I).add_(to_signed(root + _GAMMA)))
    if isinstance(draw, Tensor):
        state.add_(draw, alpha=_GAMMA_I).add_(_GAMMA_I)
    else:
        state.add_(to_signed((draw + 1) * _GAMMA))
    return _mix(state)


def _host_keys(root: int, ids: Tensor, draw: int | Tensor) -> Tensor:
    """:func:`keys` on the CPU: numpy's unsigned shifts need no masks, and its calls are short."""

    def mix(z: Any) -> Any:
        z = (z ^ (z >> _S30)) * np.uint64(_MUL_1)
        z = (z ^ (z >> _S27)) * np.uint64(_MUL_2)
        return z ^ (z >> _S31)

    gamma = np.uint64(_GAMMA)
    words = ids.detach().numpy().view(np.uint64)
    state = mix(words * gamma + np.uint64((root + _GAMMA) & _MASK))
    if isinstance(draw, Tensor):
        state += draw.detach().cpu().numpy().view(np.uint64) * gamma + gamma
    else:
        state += np.uint64(((draw + 1) * _GAMMA) & _MASK)
    return torch.from_numpy(mix(state).view(np.int64))


def _tile(size: int, rows: int, device: torch.device) -> tuple[int, int]:
    """Rows and columns worked on at a time, so that both int64 buffers stay in a cache.

    2^17 numbers a thread are 2 x 1 MiB: the best of 2^12..2^17 on a 2 MiB cache (less is
    overhead of the calls, and more calls wait for the slowest thread; 2^18 costs up to
    twice as much); torch gives a thread the same part of a tile each time. Accelerators
    get larger tiles, only to bound the memory (2 x 128 MiB).
    """
    n_threads = min(torch.get_num_threads(), 64)
    block = n_threads << 17 if device.type == "cpu" else 1 << 24
    columns = min(size, block)
    return min(rows, max(1, block // columns)), columns


def uniform(
    seed: int, ids: Tensor, purpose: str, draw: int | Tensor, size: int
) -> Tensor:
    """Uniform numbers in [0, 1); row i depends on seed, ids[i], purpose and draw[i] alone.

    ids: (B,) int64; draw: one int or (B,) int64. Returns (B, size) float32 on the
    device of ``ids``, multiples of 2^-24 (0 occurs with probability 2^-24, 1 never). A
    longer row starts with the shorter one. Same bits on every device and in any
    grouping of rows; the global generators are left alone; the host never waits for the
    device. Raises as :func:`keys` does, and InputError for a negative size.

    Source: SplitMix64 (Steele, Lea & Flood 2014), see the module. Cost: ten integer
    operations a number, 12-15 us for 3072 numbers on one thread, about 1.4 times
    torch.rand.

    >>> ids = torch.tensor([3, 5])
    >>> both = uniform(0, ids, "demo", torch.tensor([0, 9]), 4)
    >>> torch.equal(both[1:], uniform(0, ids[1:], "demo", 9, 4))
    True
    """
    if size < 0:
        raise InputError(f"size={size} must be >= 0")
    state = keys(seed, ids, purpose, draw).unsqueeze_(1)
    rows, device = ids.shape[0], ids.device
    out = torch.empty(rows, size, dtype=torch.float32, device=device)
    if out.numel() == 0:
        return out
    offsets = torch.arange(1, size + 1, device=device).mul_(_GAMMA_I)
    n_rows, n_columns = _tile(size, rows, device)
    flat = torch.empty(2, n_rows * n_columns, dtype=torch.int64, device=device)
    shape, z, t, short = torch.Size(), flat[0], flat[1], flat[1]
    for i in range(0, rows, n_rows):
        key = state[i : i + n_rows]
        for j in range(0, size, n_columns):
            part = out[i : i + n_rows, j : j + n_columns]
            if part.shape != shape:  # first tile, or last one of a row or a column
                shape, n = part.shape, part.numel()
                z, t = flat[0, :n].view(shape), flat[1, :n].view(shape)
                short = flat[1].view(torch.int32)[:n].view(shape)
            # In this order: torch scales its second operand, here one number a row.
            torch.add(offsets[j : j + n_columns], key, out=z)
            # The last xor-shift of mix changes only bits 0..32: the top 24 need not
            # wait for it. The way to float32 is twice as fast over int32.
            short.copy_(_scramble(z, t).bitwise_right_shift_(40))
            part.copy_(short.bitwise_and_((1 << 24) - 1)).mul_(2.0**-24)
    return out


def integers(
    seed: int, ids: Tensor, purpose: str, draw: int | Tensor, high: int | Tensor
) -> Tensor:
    """One integer in [0, high) a row, say a random target label.

    high: an int or (B,) int64, each in [1, 2^63); arguments else as in :func:`uniform`.
    Returns (B,) int64. It is 63 bits of word 0 of the row's stream modulo ``high``: no
    value's probability differs from 1/high by more than 2^-63, a relative bias of at
    most high / 2^63 (1e-16 for 1000 classes). That word also makes the first number of
    ``uniform``: give each use its own purpose. Raises InputError for a high below 1
    (tensors on an accelerator are not looked at).

    >>> integers(0, torch.arange(6), "target", 0, 1).tolist()
    [0, 0, 0, 0, 0, 0]
    """
    if not isinstance(high, Tensor) or high.device.type == "cpu":
        if not bool((torch.as_tensor(high) >= 1).all()):
            raise InputError(f"high={high} must be >= 1: [0, high) holds no integer")
    words = _mix(keys(seed, ids, purpose, draw).add_(_GAMMA_I))
    return words.bitwise_right_shift_(1).bitwise_and_(_MASK >> 1).remainder_(high)
