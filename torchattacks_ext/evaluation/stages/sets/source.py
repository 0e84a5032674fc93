"""How is a second set of images read? By name or as data, checked like the evaluated ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import DataLoader

from ....data.door import check_images, check_label_range
from ....data.loaders.labelled import NamedData
from ....data.named import load_data
from ....data.stream import Batch, Stream
from ....errors import ConfigError, InputError
from ....models.logits import working_dtype
from ....models.session import first_tensor
from ...plan import Plan
from ..base import Whole


@dataclass(frozen=True, eq=False)
class Source:
    """A set of images beside the evaluated ones.

    name: for the report. images: tensor (N, ...), Dataset, DataLoader or iterable of batches.
    labels: of a tensor. told: where they come from. n: at most so many. adapt: whether images of
    another size or number of channels are brought to those of the evaluated ones.
    """

    name: str
    images: Any
    labels: Any = None
    told: str = ""
    n: int | None = None
    adapt: bool = False
    need_labels: bool = False

    @property
    def size(self) -> int | None:
        """How many images are read at most; None where nobody knows."""
        data = self.images
        if isinstance(data, DataLoader):
            data = data.dataset if data.batch_size is not None else None
        if isinstance(data, list) or not hasattr(data, "__len__"):
            return self.n
        return len(data) if self.n is None else min(self.n, len(data))

    def batches(
        self, whole: Whole, plan: Plan, shape: tuple[int, ...]
    ) -> Iterator[Batch]:
        """Checked batches on the model's device, each image of this shape, with their ids.

        Raises InputError, naming the set, for what cannot be read, an empty set, images of another
        shape, labels that the model does not have.
        """
        model, left = whole.view.model, self.n
        sample, seen = first_tensor(model), 0

        def prepare(raw: Any) -> Tensor:
            if isinstance(raw, Tensor) and sample is not None:
                raw = raw.to(sample.device)
            pixels = check_images(raw, plan.box, working_dtype(model))
            pixels = self._fitted(pixels, shape)
            return pixels if sample is None else pixels.to(sample.device)

        try:
            stream = Stream(
                self.images,
                self.labels,
                batch_size=plan.batch_size,
                bounds=plan.box,
                prepare=prepare,
                need_labels=self.need_labels,
            )
            for batch in stream:
                if left is not None and len(batch) > left:
                    batch = cut(batch, left)
                if batch.labels is not None and self.need_labels:
                    check_label_range(batch.labels, whole.traits.n_classes)
                seen += len(batch)
                yield batch
                left = None if left is None else left - len(batch)
                if left == 0:
                    break
        except InputError as error:
            raise InputError(f"{self.name}: {error}") from error
        if not seen:
            raise InputError(f"{self.name} is empty; give at least one image")

    def _fitted(self, images: Tensor, shape: tuple[int, ...]) -> Tensor:
        own = tuple(images.shape[1:])
        if own == shape or not len(images):
            return images
        if not self.adapt:
            raise InputError(
                f"images have shape {own}, the evaluated ones {shape}; bring them to it, or "
                "let adapt=True do it (channels repeated or averaged, sides scaled)"
            )
        if len(own) != 3 or len(shape) != 3 or {own[0], shape[0]} - {1, 3}:
            raise InputError(
                f"images have shape {own}, which adapt=True cannot bring to {shape}: it takes "
                "pictures (C, H, W) with one or three channels"
            )
        return adapted(images, shape)


def adapted(images: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Pictures (N, 1 or 3, H, W) as (N, *shape): channels repeated or averaged, sides scaled.

    Bilinear, without corners aligned, with a low-pass filter where pictures shrink.

    >>> adapted(torch.ones(2, 1, 28, 28), (3, 32, 32)).shape
    torch.Size([2, 3, 32, 32])
    """
    if images.shape[1] > shape[0]:
        images = images.mean(1, keepdim=True)
    if images.shape[2:] != shape[1:]:
        images = interpolate(
            images, shape[1:], mode="bilinear", align_corners=False, antialias=True
        )
    return images.expand(-1, shape[0], -1, -1).contiguous()


def cut(batch: Batch, n: int) -> Batch:
    """The first n rows of a batch."""
    groups = None if batch.groups is None else batch.groups[:n]
    labels = None if batch.labels is None else batch.labels[:n]
    return replace(
        batch,
        ids=batch.ids[:n],
        images=batch.images[:n],
        labels=labels,
        index=batch.index[:n],
        groups=groups,
    )


def source_of(key: str, name: str, given: Any, **options: Any) -> Source:
    """A set from what was given as argument `key`: a name like "npz:PATH", or data.

    Names are loaded at once, so that a missing file is known before any pass. Raises ConfigError
    for what is no data set; errors of files as :func:`~.named.load_data`.

    >>> source_of("far", "far", "digits").told
    'digits'
    """
    if isinstance(given, str):
        given = load_data(given, options.get("n"))
    if isinstance(given, NamedData):
        return Source(name, given.dataset, None, given.name, **options)
    if isinstance(given, tuple) and len(given) == 2:
        return Source(name, *given, told="given in Python", **options)
    sized = hasattr(given, "__getitem__") or hasattr(given, "__iter__")
    if not sized or isinstance(given, (tuple, Mapping, bytes)):
        raise ConfigError(
            f"{key}={given!r:.60} is no data set; give a name such as npz:PATH, images, "
            "(images, labels), a Dataset or a DataLoader"
        )
    return Source(name, given, told="given in Python", **options)


def sources_of(key: str, given: Any, **options: Any) -> list[Source]:
    """One set, or several by name: {"svhn": "npz:PATH", ...}. Raises ConfigError for an empty dict.

    >>> [one.name for one in sources_of("near", {"a": torch.zeros(1, 1, 2, 2)})]
    ['a']
    """
    if given is None:
        return []
    if not isinstance(given, Mapping):
        return [source_of(key, key, given, **options)]
    if not given:
        raise ConfigError(f"{key}={{}} names no data set; leave it out")
    return [source_of(key, str(name), one, **options) for name, one in given.items()]


def noise(kind: str, n: int, shape: tuple[int, ...], plan: Plan) -> Tensor:
    """n images (n, *shape) of independent pixels in the plan's bounds, by its seed.

    kind: "uniform", or "gaussian" with mean 1/2 and deviation 1/4 of the range, clipped. Raises
    ConfigError for other kinds and without bounds.

    >>> from torchattacks_ext.evaluation.plan import check_plan
    >>> plan = check_plan({"eps": 0, "stages": ["clean"]})
    >>> noise("uniform", 2, (1, 4, 4), plan).shape
    torch.Size([2, 1, 4, 4])
    """
    from ....numerics.norms import bounds_for
    from ....numerics.streams import uniform

    if plan.box is None:
        raise ConfigError("noise needs bounds; give noise=False, or bounds=(low, high)")
    u = uniform(plan.seed, torch.arange(n), f"ood/{kind}", 0, max(1, _size(shape)))
    if kind == "gaussian":
        u = (0.5 + 0.25 * torch.special.ndtri(u.double().clamp_min(2**-25))).float()
    drawn = u.clamp(0, 1).reshape(n, *shape)
    low, high = bounds_for(plan.box, drawn)
    found: Tensor = low + (high - low) * drawn
    return found


def _size(shape: tuple[int, ...]) -> int:
    return int(torch.Size(shape).numel())
