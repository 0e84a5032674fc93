"""How does a picture look after one named corruption of one severity?"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, Literal, get_args

from torch import Tensor

from ...errors import ConfigError
from ..base import Sampler, Uniforms, check_word
from .pictures import as_pictures, cut_off
from .table import CIFAR_BELOW, DEFINITIONS, FROST, SEVERITIES, Parameters
from .textures import check_room, read_textures

Choice = Literal["auto", "cifar", "imagenet"]


class Corruption(Sampler):
    """A corruption of CIFAR-10-C and ImageNet-C by its published definition, with keyed draws.

    corruption (str): a name of :data:`.table.DEFINITIONS`: the fifteen "gaussian_noise",
        "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur",
        "snow", "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate",
        "jpeg_compression"; three more of the same source, "speckle_noise", "gaussian_blur",
        "saturate"; and of this package "frost_procedural", "rotation", "translation".
    severity (int): 1 .. 5.
    parameters (str): "cifar" or "imagenet", the published numbers; "auto" takes those of CIFAR-10-C
        for images whose shorter side is below 128 pixels. (Default: "auto")
    textures (str | None): folder with photographs of frost, needed for "frost" and for nothing
        else: each is drawn with the same probability. (Default: None)

    (B, C, H, W) in [0, 1] with 1 or 3 channels and at least 4 pixels a side; widths of blurs and
    snow are in pixels, those of elastic maps in parts of the shorter side. Draws have 8 bits, cut
    off as in the published sets; rotation and translation do not. There is no ball. A draw
    depends on its own image and numbers alone. Computed in float64. Source: Hendrycks & Dietterich
    2019, arXiv:1903.12261. Raises ConfigError for arguments outside their domain, InputError for
    other images, MissingExtra where Pillow is needed (jpeg_compression, frost) and missing.

    >>> import torch
    >>> image = torch.full((1, 1, 8, 8), 100 / 255)
    >>> law = Corruption("brightness", severity=1)
    >>> (law.sample(image, lambda size, purpose="": torch.rand(1, size)) * 255)[0, 0, 0, 0]
    tensor(112.)
    """

    name = "corruption"

    def __init__(
        self,
        corruption: str,
        severity: int,
        *,
        parameters: Choice = "auto",
        textures: str | Path | None = None,
    ) -> None:
        check_name(corruption)
        if severity not in SEVERITIES or isinstance(severity, (bool, float)):
            raise ConfigError(
                f"severity={severity!r} is not one of {SEVERITIES}; 1 is the mildest"
            )
        check_word("parameters", parameters, get_args(Choice))
        if (textures is None) == (corruption == FROST):
            raise ConfigError(
                "'frost' blends photographs of ice: give textures='FOLDER', or take "
                "'frost_procedural'"
                if textures is None
                else f"textures={str(textures)!r} is for 'frost' alone, not {corruption!r}"
            )
        self.corruption, self.severity = corruption, int(severity)
        self.parameters: Choice = parameters
        self.textures = None if textures is None else str(textures)

    def sample(self, images: Tensor, u: Uniforms) -> Tensor:
        """One draw an image: (B, C, H, W) -> (B, C, H, W)."""
        pictures = as_pictures(images)
        if not len(pictures):
            return images.clone()
        definition = DEFINITIONS[self.corruption]
        taken = parameters_for(self.parameters, tuple(images.shape))
        more: tuple[Any, ...] = definition.numbers(taken, self.severity)
        if self.textures is not None:
            found = read_textures(self.textures, taken, images.shape[1])
            check_room(found, *images.shape[2:])
            more = (*more, found)

        def own(size: int, purpose: str = "") -> Tensor:
            return u(size, f"{self.corruption} {purpose}")

        changed = definition.function(pictures, own, *more)
        if self.corruption not in ("rotation", "translation"):
            changed = cut_off(changed)
        return changed.to(images.dtype)

    def settings(self) -> dict[str, Any]:
        """Name, corruption, severity, parameters and textures (norm and eps are None)."""
        names = ("corruption", "severity", "parameters", "textures")
        return super().settings() | {name: getattr(self, name) for name in names}


def check_name(corruption: Any) -> None:
    """Raises ConfigError unless it is the name of a corruption.

    >>> check_name("fog")
    """
    if corruption in DEFINITIONS:
        return
    near = difflib.get_close_matches(str(corruption).lower(), DEFINITIONS, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ConfigError(
        f"corruption {corruption!r} is unknown{hint}; expected one of {', '.join(DEFINITIONS)}"
    )


def parameters_for(given: Choice, shape: tuple[int, ...]) -> Parameters:
    """Whose numbers are taken for images (B, C, H, W).

    >>> parameters_for("auto", (1, 3, 32, 32)), parameters_for("auto", (1, 3, 224, 224))
    ('cifar', 'imagenet')
    """
    if given != "auto":
        return given
    return "cifar" if min(shape[2:]) < CIFAR_BELOW else "imagenet"
