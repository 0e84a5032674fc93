"""What is measured? Images and labels in the forms in which callers have them, right and wrong."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from .kind import Shape, plain

DTYPES = (torch.float32,) * 5 + (torch.float64, torch.float16)
LAYOUTS = (
    "contiguous",
    "contiguous",
    "channels_last",
    "transposed",
    "strided",
    "expanded",
    "needs a gradient",
    "inference",
    "numpy",
    "read-only numpy",
)
LABELS = ("int64", "int64", "int32", "uint8", "list", "float", "column", "numpy")
FORMS = ("tensor", "tensor", "loader", "pairs", "dicts", "dataset")
BAD = {
    "uint8 images": "images are uint8",
    "integer images": "images are torch.int64",
    "NaN pixel": "hold NaN or infinite",
    "0..255": "looks like 0..255",
    "labels out of range": "labels run from",
    "negative label": "labels run from",
    "no labels": "labels are needed",
    "soft labels": "use labels.argmax\\(1\\)",
    "fractions": "labels hold fractions",
    "a label too many": "expected \\(\\d+,\\) class numbers",
    "one image without a batch": "use images.unsqueeze\\(0\\)|model raised|expected \\(\\d,\\)",
}
"""What is wrong with it, and the words of the refusal."""
DARK = 0.05


@dataclass(frozen=True, eq=False)
class Inputs:
    """What the caller hands over, and the same as plain float tensors for the twin.

    given, labels: the caller's own; data: the same in its form. images (N, ...), classes (N,): the
    plain ones. form: of FORMS. owned: tensors that must stay as they are. bounds: of the pixels.
    refused: words of the refusal, where something is wrong. words: all of it, for a person. dark:
    rows on which a `poisoned` kind raises.
    """

    given: Any
    labels: Any
    form: str
    images: Tensor
    classes: Tensor
    bounds: tuple[float, float] = (0.0, 1.0)
    refused: str = ""
    bad: str = ""
    words: str = ""
    dark: tuple[int, ...] = ()
    batch: int = 4
    owned: tuple[Tensor, ...] = field(default=())

    @property
    def width(self) -> float:
        """Of the range of the pixels."""
        return self.bounds[1] - self.bounds[0]

    def data(self, pairs: bool) -> tuple[Any, Any]:
        """(data, labels) as a verb takes them; pairs: an evaluation takes them as one."""
        given, labels = self.given, self.labels
        if self.form == "tensor":
            return ((given, labels), None) if pairs else (given, labels)
        if self.form == "dataset":
            return TensorDataset(given, labels), None
        if self.form == "loader":
            return (
                DataLoader(
                    TensorDataset(given, labels),
                    self.batch,
                    generator=torch.Generator(),
                ),
                None,
            )
        cuts = range(0, len(given), self.batch)
        parts = [(given[i : i + self.batch], labels[i : i + self.batch]) for i in cuts]
        if self.form == "pairs":
            return parts, None
        return [{"pixel_values": x, "label": y} for x, y in parts], None


def draw_inputs(
    dice: random.Random,
    shape: Shape,
    *,
    dark: bool,
    simple: bool,
    may_scale: bool,
    top: int,
) -> Inputs:
    """Inputs of one case. dark: some rows may be black; simple: as a file holds them.

    top: the largest label."""
    n = dice.choice((1, 1, 2, 3, 4, 5, 6, 7, 9))
    seed = dice.randrange(1000)
    images = _images(shape, n, seed)
    rows = tuple(i for i in range(n) if dark and dice.random() < 0.25)
    images[list(rows)] = DARK
    classes = plain(shape)(images).argmax(1)
    for row in range(n):
        if dice.random() < 0.15:
            classes[row] = dice.randrange(2)
    classes = classes.clamp_max(top)
    batch = dice.choice((1, 2, 3, 4, 64))
    if simple:
        return Inputs(images, classes, "tensor", images, classes, dark=rows, batch=64)
    scaled = may_scale and dice.random() < 0.2
    bounds = (-1.0, 1.0) if scaled else (0.0, 1.0)
    if scaled:
        images = images * 2 - 1
    dtype, layout = dice.choice(DTYPES), dice.choice(LAYOUTS)
    bad = dice.choice(list(BAD)) if dice.random() < 0.05 else ""
    form, kind = dice.choice(FORMS), dice.choice(LABELS)
    if layout == "expanded":
        images, classes, rows = images[:1], classes[:1], rows[:1]
        given = images.to(dtype).expand(n, *shape)
        images = images.to(dtype).expand(n, *shape).clone()
        classes, rows = classes.repeat(n), tuple(range(n)) if rows == (0,) else ()
    else:
        given = _laid_out(images.to(dtype), layout)
        images = images.to(dtype)
    arrays = "numpy" in layout or kind in ("list", "numpy")
    form = "tensor" if arrays or bad else form
    labels = _labels(classes, kind)
    if bad:
        given, labels = _spoilt(bad, given, labels, classes)
    words = f"{n} x {shape} {_short(dtype)} {layout}, labels {kind}, {form} by {batch}"
    owned = tuple(side for side in (given, labels) if isinstance(side, Tensor))
    return Inputs(
        given,
        labels,
        form,
        images.float().contiguous() if dtype != torch.float64 else images,
        classes,
        bounds,
        BAD.get(bad, ""),
        bad,
        words + f", bounds {bounds}" * scaled + f", {bad}" * bool(bad),
        rows,
        batch,
        owned,
    )


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _images(shape: Shape, n: int, seed: int) -> Tensor:
    """(n, ...) smooth enough that answers differ: a random mean and slope an image, and noise."""
    generator = torch.Generator().manual_seed(seed)
    base = torch.rand(n, *(1 for _ in shape), generator=generator)
    noise = torch.rand(n, *shape, generator=generator)
    return (0.25 + 0.25 * base + 0.5 * noise * noise).clamp(0, 1)


def _laid_out(images: Tensor, layout: str) -> Any:
    if layout == "channels_last":
        return images.to(memory_format=torch.channels_last)
    if layout == "transposed":
        return images.transpose(-1, -2).contiguous().transpose(-1, -2)
    if layout == "strided":
        return images.repeat_interleave(2, dim=-1)[..., ::2]
    if layout == "needs a gradient":
        return images.clone().requires_grad_()
    if layout == "inference":
        with torch.inference_mode():
            return images.clone()
    if "numpy" in layout:
        array = images.numpy().copy()
        array.setflags(write=layout == "numpy")
        return array
    return images.clone()


def _labels(classes: Tensor, kind: str) -> Any:
    if kind == "list":
        return classes.tolist()
    if kind == "numpy":
        return classes.numpy().copy()
    if kind == "float":
        return classes.float()
    if kind == "column":
        return classes[:, None].clone()
    return classes.to(getattr(torch, kind)).clone()


def _spoilt(bad: str, given: Any, labels: Any, classes: Tensor) -> tuple[Any, Any]:
    whole = torch.as_tensor(np.array(given)) if isinstance(given, np.ndarray) else given
    whole = whole.detach().clone(memory_format=torch.contiguous_format)
    with torch.no_grad():
        if bad == "uint8 images":
            return (whole.abs() * 255).to(torch.uint8), labels
        if bad == "integer images":
            return (whole.abs() * 255).long(), labels
        if bad == "NaN pixel":
            whole.flatten(1)[0, 0] = torch.nan
            return whole.reshape(given.shape), labels
        if bad == "0..255":
            return whole.abs() * 250 + 3, labels
        if bad == "one image without a batch":
            return whole[0, 0, 0], labels
    if bad == "no labels":
        return given, None
    if bad == "soft labels":
        return given, torch.nn.functional.one_hot(classes, 4).float()
    if bad == "fractions":
        return given, classes + 0.25
    if bad == "a label too many":
        return given, torch.cat([classes, classes[:1]])
    wrong = classes.clone()
    wrong[-1] = 17 if bad == "labels out of range" else -1
    return given, wrong
