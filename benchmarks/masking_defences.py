"""Which defences hide their gradients, and how? Eight kinds before trained nets, cause known."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np
import tax_data
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from torchattacks_ext.defenses import HPMModel
from torchattacks_ext.testing import GradientKiller
from torchattacks_ext.testing.masked import Quantised, SaturatedLogits, TiedLogits

LEVELS, SCALE, STEP, QUALITY, WINNERS = 16, 100.0, 0.5, 50, 0.2

_LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
"""Table K.1 of ITU-T T.81 (JPEG), used for every channel."""


class JPEGInput(nn.Module):
    """`model` behind JPEG's rounding of 8 x 8 cosine coefficients, channel by channel."""

    def __init__(self, model: nn.Module, quality: int = QUALITY) -> None:
        super().__init__()
        self.model = model
        scale = 50 / quality if quality < 50 else 2 - quality / 50
        place = torch.arange(8, dtype=torch.float64)
        waves = torch.cos((2 * place[None] + 1) * place[:, None] * math.pi / 16) / 2
        waves[0] /= math.sqrt(2)
        self.register_buffer("waves", waves.float())
        table = (torch.tensor(_LUMA) * scale).round().clamp(1, 255)
        self.register_buffer("table", table)

    def forward(self, images: Tensor) -> Tensor:
        """Scores of the images after compression."""
        height, width = images.shape[2:]
        tall, wide = -height % 8, -width % 8
        padded = pad(images, (0, wide, 0, tall), mode="replicate") * 255 - 128
        blocks = padded.unfold(2, 8, 8).unfold(3, 8, 8)
        waves: Tensor = self.waves  # type: ignore[assignment]
        kept = torch.round(waves @ blocks @ waves.T / self.table) * self.table
        back = waves.T @ kept @ waves
        whole = back.permute(0, 1, 2, 4, 3, 5).reshape(padded.shape)
        shown = ((whole + 128) / 255).clamp(0, 1)[:, :, :height, :width]
        found: Tensor = self.model(shown)
        return found


class Winners(nn.Module):
    """The largest `share` of a layer's values of each image, the others 0 (Xiao et al. 2020)."""

    def __init__(self, share: float = WINNERS) -> None:
        super().__init__()
        self.share = share

    def forward(self, values: Tensor) -> Tensor:
        """Of the same shape."""
        rows = values.flatten(1)
        k = max(1, round(self.share * rows.shape[1]))
        least = rows.topk(k, dim=1).values[:, -1:]
        return torch.where(rows >= least, rows, 0.0).reshape(values.shape)


def with_winners(net: nn.Module) -> nn.Module:
    """A copy with winners in the place of each ReLU."""
    found = copy.deepcopy(net)
    for parent in list(found.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.ReLU):
                setattr(parent, name, Winners())
    return found


class RandomResize(nn.Module):
    """`model` on images made up to an eighth smaller, anywhere in their frame (Xie et al. 2018)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Scores; one draw a call."""
        side = images.shape[-1]
        size = int(torch.randint(side - side // 8, side + 1, ()))
        left, top = (int(torch.randint(0, side - size + 1, ())) for _ in range(2))
        small = interpolate(images, (size, size), mode="bilinear", align_corners=False)
        rest = side - size
        shown = pad(small, (left, rest - left, top, rest - top))
        found: Tensor = self.model(shown)
        return found


class Thermometer(nn.Module):
    """`model` on pixels read from a thermometer code (Buckman et al. 2018)."""

    def __init__(self, model: nn.Module, levels: int = LEVELS) -> None:
        super().__init__()
        self.model, self.levels = model, levels

    def forward(self, images: Tensor) -> Tensor:
        """Scores; the code is 1 for each level that a pixel exceeds."""
        marks = (torch.arange(self.levels) + 0.5) / self.levels
        code = (images.unsqueeze(2) > marks.view(1, 1, -1, 1, 1)).to(images.dtype)
        found: Tensor = self.model(code.mean(2))
        return found


def hpm(net: nn.Module, name: str) -> nn.Module:
    """The l2-reclassifier on the net, its prototypes of training images."""
    dataset = name.partition("_")[0]
    file = {"cifar10": "train_subset5085.npz", "mnist": "train_first10000.npz"}
    with np.load(tax_data.folder() / dataset / file[dataset]) as data:
        images = tax_data.pixels(data["images"][:2000])
        labels = torch.from_numpy(data["labels"][:2000].astype(np.int64))
    model = HPMModel.from_classifier(net, images=images[:8])
    batches = zip(images.split(200), labels.split(200))
    return model.fit_prototypes(list(batches)).eval()


def _compressed(net: nn.Module, name: str) -> nn.Module:
    return Quantised(net, LEVELS) if name.startswith("mnist") else JPEGInput(net)


_MAKERS: dict[str, Callable[[nn.Module, str], nn.Module]] = {
    "gradient killer": lambda net, name: GradientKiller(net),
    "logits x 100": lambda net, name: SaturatedLogits(net, SCALE),
    "rounded logits": lambda net, name: TiedLogits(net, STEP),
    "quantised or JPEG input": _compressed,
    "k winners take all": lambda net, name: with_winners(net),
    "random resize": lambda net, name: RandomResize(net),
    "thermometer code": lambda net, name: Thermometer(net),
    "HPM": hpm,
}
KINDS: dict[str, tuple[str, ...]] = {
    "gradient killer": ("gradient_killed",),
    "logits x 100": ("saturated_loss",),
    "rounded logits": ("rounded_logits",),
    "quantised or JPEG input": ("quantised_input",),
    "k winners take all": ("shattered_gradient",),
    "random resize": ("randomised",),
    "thermometer code": ("quantised_input",),
    "HPM": ("batch_dependent",),
}
"""Kind -> causes that name it rightly."""


def build(kind: str, name: str) -> nn.Module:
    """The defence of this kind before the net of this name, in eval mode."""
    return _MAKERS[kind](tax_data.model(name), name).eval()
