"""How does whatever a caller hands over come apart into batches, and what is said if not?"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from ..errors import InputError
from ..models.broken import PASSED_ON

IMAGE_KEYS = ("images", "image", "img", "pixel_values")
LABEL_KEYS = ("labels", "label")
PIL_REMEDY = (
    "items hold PIL images; give the data set transform=ToTensor() (torchvision.transforms), after "
    "Resize and CenterCrop where sizes differ"
)
_SIZES = re.compile(r"equal size,? but got (\[.*?\]) at entry 0 and (\[.*?\]) at entry")


@dataclass(frozen=True, eq=False)
class RawBatch:
    """A batch as it came from the loader, taken apart but not checked."""

    images: Any
    labels: Any = None
    ids: Any = None
    groups: Any = None


def is_pil(value: object) -> bool:
    """Whether it is an image of PIL (which need not be installed)."""
    return any(kind.__module__.split(".")[0] == "PIL" for kind in type(value).__mro__)


def open_batch(batch: Any) -> RawBatch:
    """One batch of a loader as its parts; InputError for a form that is not known."""
    if isinstance(batch, Mapping):
        images = _pick(batch, IMAGE_KEYS)
        if images is None:
            raise InputError(
                f"a batch has the keys {sorted(map(str, batch))}, expected one of {IMAGE_KEYS}"
            )
        return RawBatch(
            images,
            _pick(batch, LABEL_KEYS),
            batch.get("sample_ids"),
            batch.get("groups"),
        )
    if is_pil(batch):
        raise InputError(PIL_REMEDY)
    if isinstance(batch, Tensor) or hasattr(batch, "__array__"):
        return RawBatch(batch)
    if isinstance(batch, (tuple, list)) and len(batch) in (1, 2):
        return RawBatch(*batch)
    size = f" of {len(batch)}" if isinstance(batch, (tuple, list)) else ""
    raise InputError(
        f"a batch is a {type(batch).__name__}{size}, expected (images, labels), a tensor or a dict "
        f"with {IMAGE_KEYS[0]!r} and {LABEL_KEYS[0]!r}"
    )


def _pick(batch: Mapping[str, Any], keys: Sequence[str]) -> Any:
    found = [key for key in keys if key in batch]
    return batch[found[0]] if found else None


def raw_batches(
    data: Any, labels: Tensor | None, batch_size: int
) -> Iterator[RawBatch]:
    """The batches of a tensor with its labels, a Dataset, a DataLoader or an iterable of batches.

    Raises InputError where the data cannot be read; what they raised is its cause.
    """
    if isinstance(data, Tensor):
        for start in range(0, len(data), batch_size):
            rows = slice(start, start + batch_size)
            yield RawBatch(data[rows], None if labels is None else labels[rows])
        return
    dataset = hasattr(data, "__getitem__") or isinstance(data, IterableDataset)
    if dataset and not isinstance(data, (DataLoader, list)):
        # with a generator of its own: a loader draws from the global one when it starts
        data = DataLoader(data, batch_size=batch_size, generator=torch.Generator())
    for batch in _read(data):
        yield open_batch(batch)


def _read(data: Any) -> Iterator[Any]:
    """What the data yield; their own exceptions become ours."""
    position = 0
    try:
        batches = iter(data)
        for batch in batches:
            yield batch
            position += 1
    except PASSED_ON:
        raise
    except Exception as error:
        raise data_raised(error, position) from error


def unequal(one: object, other: object) -> str:
    """What is said of images that cannot be one batch."""
    return (
        f"items have unequal sizes, {one} and {other}: give the data set Resize and CenterCrop "
        "(torchvision.transforms), or batches of one size each"
    )


def data_raised(error: Exception, position: int) -> InputError:
    """The refusal of data that raised when batch number `position` was read; raise it from `error`.

    >>> str(data_raised(KeyError("x"), 2))[:50]
    "the data raised KeyError at batch 2 (from 0): 'x';"
    """
    text = " ".join(str(error).split())
    if "collate" in text and "PIL." in text:
        return InputError(PIL_REMEDY)
    sizes = _SIZES.search(text)
    if sizes is not None:
        return InputError(unequal(sizes[1], sizes[2]))
    # of a worker's traceback the last line says it
    words = str(error).strip().splitlines()[-1:] or [""]
    return InputError(
        f"the data raised {type(error).__name__} at batch {position} (from 0): {words[0][:300]}; "
        "mend the data set, its transform or its collate_fn"
    )
