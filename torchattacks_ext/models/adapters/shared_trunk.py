"""How are several heads asked about one batch for the price of one trunk? Features are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import TensorWeakRef

from ...errors import ConfigError, InputError, ModelContractError
from ..session import in_dtype_of
from .bpda import as_tensor


@dataclass
class _Entry:
    """Features of one batch, and all that they depend on."""

    images: Tensor  # a copy: the caller may write into its own
    asked: TensorWeakRef  # the caller's tensor, to which the graph leads
    state: tuple[Any, ...]
    features: Tensor
    in_grad_mode: bool
    spent: list[bool]  # not empty once a backward pass has used the graph


class SharedTrunk(nn.Module):
    """Heads on a common trunk; the trunk runs once for all heads asked about the same images.

    Arguments:
        trunk (Module): images (N, ...) to features (N, ...), one tensor.
        heads (mapping of str to Module): name to a Module from features to logits (N, K); at
            least one.

    One batch of features is kept, with a copy of its images. It is used again only for images that
    are equal in values, shape, strides, dtype and device (so for a copy too, and never after a
    write into the images, even through `.data`), while the trunk's weights and modes and autocast
    are as they were. A graph is used again only for the very tensor it was built
    on, before its first backward pass; without gradients the features of a graph serve as well.
    Every head gets a copy of the features and may write into it.

    Two heads on one graph can take one backward pass together; two separate ones need
    retain_graph=True for the first, as with any shared part (torch says so). A randomised trunk
    shows all heads the same draw. Comparing images makes the host wait for the device. Not
    thread-safe: give each thread its own copy. Between batches one batch of images and features
    (with its graph, if no backward pass has freed it) stays in memory: :meth:`clear` lets go.

    Cost: one trunk row-pass a row for each new batch, counted in `trunk_rows`; one pass of a head
    each time. Raises ConfigError for no heads, InputError for an unknown name,
    ModelContractError for features that are not one tensor with N rows.

    >>> net = SharedTrunk(torch.nn.Linear(4, 3), {"a": torch.nn.Identity(), "b": torch.nn.ReLU()})
    >>> x = torch.rand(5, 4)
    >>> torch.equal(net.head("a")(x).relu(), net.head("b")(x)), net.trunk_rows
    (True, 5)
    """

    def __init__(self, trunk: nn.Module, heads: Mapping[str, nn.Module]) -> None:
        super().__init__()
        if not heads:
            raise ConfigError("heads={} is empty; give at least one name and Module")
        self.trunk = trunk
        # not a ModuleDict, which refuses names with a dot
        self.names = tuple(heads)
        self.heads = nn.ModuleList(heads.values())
        self.trunk_rows = 0
        self._entry: _Entry | None = None

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Name of every head to its logits (N, K), with gradients if they are enabled."""
        return {name: self.logits(name, images) for name in self.names}

    def probe(self, images: Tensor) -> dict[str, Tensor]:
        """The same without gradients."""
        with torch.no_grad():
            return self.forward(images)

    def head(self, name: str) -> HeadView:
        """One head as a model of its own, images to logits; it shares the kept features."""
        self._index(name)
        return HeadView(self, name)

    def logits(self, name: str, images: Tensor) -> Tensor:
        """Logits (N, K) of one head."""
        found: Tensor = self.heads[self._index(name)](self.features(images))
        return found

    def features(self, images: Tensor) -> Tensor:
        """A copy of the features (N, ...), from the trunk or kept."""
        state = self._state(images)
        entry = self._entry
        if entry is None or not _fits(entry, images, state):
            # let go of the old graph before a new one is built
            self._entry = entry = None
            self._entry = entry = self._run(images)
        # a copy for each, because a head may begin with an in-place ReLU
        return entry.features.clone()

    def clear(self) -> None:
        """Forget the kept batch and its graph."""
        self._entry = None

    def _index(self, name: str) -> int:
        if name not in self.names:
            raise InputError(f"head {name!r} is not one of {self.names}")
        return self.names.index(name)

    def _state(self, images: Tensor) -> tuple[Any, ...]:
        kind = images.device.type
        found: list[Any] = [images.shape, images.stride(), images.dtype, images.device]
        found += (torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind),)
        _add_weights(self.trunk, found)
        return tuple(found)

    def _run(self, images: Tensor) -> _Entry:
        kept = images.detach().clone()
        features = as_tensor(self.trunk(in_dtype_of(self.trunk, images)), "the trunk")
        self.trunk_rows += len(images)
        if features.ndim < 1 or len(features) != len(images):
            raise ModelContractError(
                f"the trunk gave features {tuple(features.shape)} for {len(images)} images, "
                f"expected ({len(images)}, ...)"
            )
        spent: list[bool] = []
        if features.requires_grad:
            # a trunk may return its input: no hook on the caller's tensor
            features = features.view_as(features) if features.is_leaf else features
            # holds the list alone: with the entry it would be a cycle that nobody frees
            features.register_hook(lambda _: spent.append(True))  # type: ignore[no-untyped-call]
        asked, grad = TensorWeakRef(images), torch.is_grad_enabled()
        # after the trunk: batch statistics in training mode are written by the pass itself
        state = self._state(images)
        return _Entry(kept, asked, state, features, grad, spent)

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles start without kept features."""
        return {**self.__dict__, "_entry": None}


class HeadView(nn.Module):
    """One head of a :class:`SharedTrunk` as a Module from images to logits.

    Arguments:
        shared (SharedTrunk): the owner of trunk, heads and kept features.
        name (str): of the head.

    Costs and errors are those of :meth:`SharedTrunk.logits`.

    >>> net = SharedTrunk(torch.nn.Flatten(), {"fc": torch.nn.Linear(4, 3)})
    >>> HeadView(net, "fc")(torch.rand(2, 1, 2, 2)).shape
    torch.Size([2, 3])
    """

    def __init__(self, shared: SharedTrunk, name: str) -> None:
        super().__init__()
        self.shared, self.name = shared, name

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K)."""
        return self.shared.logits(self.name, images)


def _add_weights(module: nn.Module, found: list[Any]) -> None:
    """Modes, and of each tensor of the module what changes when it does; asked at every query.

    torch's own tables and its count of writes: Module.parameters() would take ten times as long,
    and the count has no public name.
    """
    found.append(getattr(module, "training", None))
    for tensors in (module._parameters, module._buffers):
        for tensor in tensors.values():
            if tensor is None:
                continue
            # inference tensors keep no version: a new object equals nothing, so nothing is kept
            version = object() if tensor.is_inference() else tensor._version
            found += version, tensor.data_ptr(), tensor.requires_grad
    for child in module._modules.values():
        if child is not None:
            _add_weights(child, found)


def _fits(entry: _Entry, images: Tensor, state: tuple[Any, ...]) -> bool:
    """May these features answer for these images, in this mode?"""
    if entry.state != state or not torch.equal(entry.images, images.detach()):
        return False
    if not torch.is_grad_enabled():
        return True
    same = entry.asked() is images and entry.in_grad_mode and not entry.spent
    return same and entry.features.requires_grad >= images.requires_grad
