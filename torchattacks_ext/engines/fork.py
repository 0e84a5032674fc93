"""How do a seeded attack and a randomised victim share the global generators? On two streams.

Several attacks call ``torch.manual_seed`` at every batch, others draw from the global generators of
PyTorch or NumPy. Around them the state of those generators is forked: the attack runs on a stream
seeded by the caller, and each forward pass of the victim runs on the stream that the caller left.
Afterwards the generators stand where the victim's own draws have moved them: unmoved for a
deterministic model, and never rewound for a randomised defence, whose noise would otherwise repeat.
"""

from __future__ import annotations

import hashlib
import random
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import nn

from ..errors import StateError
from ..numerics.arguments import parse_seed

_WATCH_EVERY = 256
"""NumPy's and Python's states are looked at in the first and then in each 256th forward pass."""


def fold_seed(seed: int) -> int:
    """A seed for torch's CPU generator, which ignores all but the lower 32 bits.

    Seeds below 2**32 stay what they are, others are hashed: equal results for two seeds have a
    probability of 2**-32. ``ConfigError`` for a seed that is no integer in [0, 2**63).

    >>> fold_seed(7), fold_seed(2**40 + 7) == fold_seed(2**41 + 7)
    (7, False)
    """
    number = parse_seed(seed)
    if number < 2**32:
        return number
    digest = hashlib.blake2b(number.to_bytes(8, "little"), digest_size=4).digest()
    return int.from_bytes(digest, "little")


class ForkedRng:
    """Context in which the global generators belong to one seeded attack.

    Covered are torch on the CPU and on every CUDA device in use, ``numpy.random`` and ``random``.
    On entry their states are put aside as the victim's stream and the generators are seeded with
    `seed`, an integer in [0, 2**63). On exit, also after an exception, the victim's stream is put
    back. Wrap the attacked model with :meth:`victim`, or its draws count as the attack's.

    The states are global: two threads must not hold such contexts at once. The contexts of one
    thread may be nested. Draws of a custom ``backward`` come from the attack's stream.
    ``ConfigError`` for a seed outside its range, ``StateError`` when entered twice.

    >>> import torch
    >>> before = torch.get_rng_state()
    >>> with ForkedRng(7):
    ...     first = torch.rand(3)
    >>> with ForkedRng(7):
    ...     second = torch.rand(3)
    >>> torch.equal(first, second), torch.equal(before, torch.get_rng_state())
    (True, True)
    """

    def __init__(self, seed: int) -> None:
        self._torch_seed = fold_seed(seed)
        self.seed = parse_seed(seed)
        self._streams = _Streams()

    def __enter__(self) -> ForkedRng:
        if self._streams.split:
            raise StateError(
                "this ForkedRng is entered already; make a new one to nest contexts"
            )
        self._streams.begin(self._torch_seed, self.seed)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._streams.end()

    def victim(self, model: nn.Module) -> nn.Module:
        """Wrap `model` so that inside this context its forward passes use the victim's stream.

        The wrapper holds the model as the sub-module ``model``: parameters, ``train()``, ``eval()``
        and ``training`` are the model's; outside the context it only passes calls on. Several
        models may be wrapped: they share one stream, in the order of their calls.

        What a forward pass draws from torch is always kept apart, for about 10 microseconds a call
        on a CPU. NumPy's and Python's states cost 30 times as much, so they are exchanged in the
        first and in each 256th call, and in every call once one was seen to draw from them; a model
        that begins to draw there in between gets the attack's numbers until the next look.

        >>> import torch
        >>> noisy = torch.nn.Dropout(0.5)
        >>> x, state = torch.ones(2, 8), torch.get_rng_state()
        >>> with ForkedRng(7) as fork:
        ...     victim = fork.victim(noisy)
        ...     _ = torch.manual_seed(0)    # what an attack does to the global generator
        ...     first = victim(x)
        ...     _ = torch.manual_seed(0)
        ...     second = victim(x)
        >>> after = torch.get_rng_state()
        >>> torch.set_rng_state(state)
        >>> torch.equal(first, noisy(x)) and torch.equal(second, noisy(x))
        True
        >>> torch.equal(after, torch.get_rng_state())
        True
        """
        return _Victim(model, self._streams)


class _Streams:
    """Two streams of the global generators, the attack's and the victim's: one lies aside.

    split: from :meth:`begin` to :meth:`end`. in_victim: whether the victim's is in use. host:
    states of NumPy and Python of the one that lies aside.
    """

    def __init__(self) -> None:
        self.split, self.in_victim = False, False
        self.host: tuple[Any, Any] = ({}, ())
        self._generators: tuple[torch.Generator, ...] = ()
        self._aside: list[torch.Tensor] = []
        self._pending: dict[str, Any] | None = None

    def begin(self, torch_seed: int, seed: int) -> None:
        """Put the victim's stream aside and begin the attack's."""
        # torch.manual_seed reseeds all CUDA devices, so all are kept (none before CUDA is in use).
        self._generators = (torch.default_generator, *torch.cuda.default_generators)
        self._aside = [generator.get_state() for generator in self._generators]
        self.host = _host_state()
        self._pending = _pending_cuda_seeds()
        for generator in self._generators:
            generator.manual_seed(torch_seed)
        np.random.seed([seed & 0xFFFFFFFF, seed >> 32])
        random.seed(seed)
        self.split = True

    def end(self) -> None:
        """Put the victim's stream back, whichever is in use."""
        self.split = False
        _set_host_state(self.host)
        if self._pending is not None and not torch.cuda.default_generators:
            # torch has no public list of the seeds that wait for CUDA
            vars(torch.cuda._lazy_seed_tracker).update(self._pending)
        for generator, state in zip(self._generators, self._aside):
            generator.set_state(state)

    def to_victim(self, devices: list[int] | None, host: bool) -> None:
        """Take the victim's stream into use: on the CPU, on `devices` (None: all), on the host."""
        self._exchange(devices, host)
        self.in_victim = True

    def to_attack(self, devices: list[int] | None, host: bool) -> None:
        """The way back from :meth:`to_victim`, with the same arguments."""
        self.in_victim = False
        self._exchange(devices, host)

    def _exchange(self, devices: list[int] | None, host: bool) -> None:
        """Swap the streams in use with the ones that lie aside."""
        n = len(self._generators)
        positions: range | list[int] = range(n)
        if devices is not None:
            positions = [0, *(1 + i for i in devices if 1 + i < n)]
        for position in positions:
            generator = self._generators[position]
            here = generator.get_state()
            generator.set_state(self._aside[position])
            self._aside[position] = here
        if host:
            here_host = _host_state()
            _set_host_state(self.host)
            self.host = here_host


class _Victim(nn.Module):
    """The model, on the victim's stream while the two are split."""

    def __init__(self, model: nn.Module, streams: _Streams) -> None:
        super().__init__()
        self.model = model
        self.training = getattr(model, "training", False)  # a frozen script has none
        self._streams = streams
        self._devices = _cuda_devices(model)
        self._n_calls = 0
        self._draws_on_host = False

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The model's answer; exchanges the streams around it, once for nested calls."""
        streams = self._streams
        if not streams.split or streams.in_victim:
            return self.model(*args, **kwargs)
        host = self._draws_on_host or self._n_calls % _WATCH_EVERY == 0
        self._n_calls += 1
        before = streams.host
        streams.to_victim(self._devices, host)
        try:
            return self.model(*args, **kwargs)
        finally:
            streams.to_attack(self._devices, host)
            if host and not self._draws_on_host:
                self._draws_on_host = not _same(before, streams.host)


def _cuda_devices(model: nn.Module) -> list[int] | None:
    """CUDA indices on which `model` computes; None (all of them) when it holds no tensor."""
    tensors = [*model.parameters(), *model.buffers()]
    if not tensors:
        return None
    found = {tensor.device.index or 0 for tensor in tensors if tensor.is_cuda}
    for module in model.modules():
        if isinstance(module, nn.DataParallel):
            found.update(int(index) for index in module.device_ids)
    return sorted(found)


def _host_state() -> tuple[Any, Any]:
    """States of ``numpy.random`` (any bit generator) and ``random``."""
    return np.random.get_state(legacy=False), random.getstate()


def _set_host_state(state: tuple[Any, Any]) -> None:
    """Put back what :func:`_host_state` gave."""
    np.random.set_state(state[0])
    random.setstate(state[1])


def _same(a: Any, b: Any) -> bool:
    """Whether two states are equal (nested dicts, tuples and arrays)."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, tuple) and len(a) == 2:
        return _same(a[0], b[0]) and _same(a[1], b[1])
    return bool(np.array_equal(a, b)) if isinstance(a, np.ndarray) else bool(a == b)


def _pending_cuda_seeds() -> dict[str, Any] | None:
    """Seeds that wait for CUDA's first use; an attack's manual_seed would replace the caller's."""
    tracker = getattr(torch.cuda, "_lazy_seed_tracker", None)
    if tracker is None or torch.cuda.default_generators:
        return None
    return {k: list(v) if isinstance(v, list) else v for k, v in vars(tracker).items()}
