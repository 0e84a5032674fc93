"""What do torchvision, timm and transformers say of the images of a model? Asked, then tried.

Each reader takes an object of its package; none is imported before there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from torch import Tensor, nn

from ...errors import ConfigError
from .facts import Preprocessing
from .probe import probed, tensor_of


def of_torchvision(weights: Any, source: str) -> Preprocessing:
    """What `weights.transforms()` of torchvision does; weights: a member of a WeightsEnum.

    Raises InputError where it is not one mean and std a channel.
    """
    own = weights.transforms()
    crop, resize = _whole(own, "crop_size"), _whole(own, "resize_size")
    words = f"shorter side to {resize}, the middle {crop}, {_mode(own)}"
    known = Preprocessing(
        _floats(own.mean), _floats(own.std), geometry=words, source=source
    )
    return probed(known, lambda image: tensor_of(own(image)))


def of_timm(model: nn.Module, source: str) -> Preprocessing:
    """What timm's configuration of this very net says, tried by timm's own transform.

    The configuration is that of a name's tag: the size is read from the net where it is fixed
    there. Raises ConfigError where the net takes another number of channels, InputError as
    :func:`.probe.probed`.
    """
    data = import_module("timm.data")
    config = dict(data.resolve_model_data_config(model))
    taken = _channels(model)
    if taken is not None and taken != len(config["mean"]):
        raise ConfigError(
            f"{source} takes {taken} channels, its configuration normalises {len(config['mean'])}; "
            "say --mean and --std"
        )
    notes, fixed = [], _fixed_size(model)
    if fixed is not None and fixed != tuple(config["input_size"][1:]):
        notes.append(
            f"its configuration says {config['input_size'][1:]}, the net takes {fixed}"
        )
        config["input_size"] = (config["input_size"][0], *fixed)
    size, share = config["input_size"][1:], config["crop_pct"]
    words = (
        f"shorter side to {int(size[0] / share)}, the middle {size[0]} x {size[1]} "
        f"({config['crop_mode']}), {config['interpolation']}"
    )
    own = data.create_transform(**config, is_training=False)
    known = Preprocessing(
        _floats(config["mean"]),
        _floats(config["std"]),
        geometry=words,
        source=source,
        notes=tuple(notes),
    )
    return probed(known, lambda image: tensor_of(own(image)))


def of_processor(processor: Any, source: str) -> Preprocessing:
    """What an image processor of transformers does, whatever its fields say.

    Raises InputError where it is not one mean and std a channel.
    """
    does = getattr(processor, "do_normalize", None)
    mean, std = getattr(processor, "image_mean", None), getattr(
        processor, "image_std", None
    )
    if not does or mean is None or std is None:
        mean, std = (0.0,), (1.0,)
    known = Preprocessing(
        _floats(mean), _floats(std), geometry=_words(processor), source=source
    )
    return probed(known, own_transform(processor))


def own_transform(processor: Any) -> Callable[[Any], Tensor]:
    """A processor of transformers as a map from one image to (C, H, W)."""

    def transform(image: Any) -> Tensor:
        return tensor_of(processor(images=image, return_tensors="pt")["pixel_values"])

    return transform


def _words(processor: Any) -> str:
    """Resizing and cropping as the fields say."""
    parts = []
    if getattr(processor, "do_resize", None):
        parts.append(f"resize to {_size(processor.size)}")
        share = getattr(processor, "crop_pct", None)
        parts += [f"crop_pct {share}"] if share else []
    if getattr(processor, "do_center_crop", None):
        parts.append(f"the middle {_size(processor.crop_size)}")
    parts.append(f"resample {int(getattr(processor, 'resample', None) or 0)}")
    return ", ".join(parts) if len(parts) > 1 else "none"


def _size(size: Any) -> str:
    try:
        named = {key: value for key, value in dict(size).items() if value is not None}
    except (TypeError, ValueError):
        return str(size)
    return " ".join(f"{key} {value}" for key, value in named.items())


def _whole(own: Any, name: str) -> Any:
    value = getattr(own, name, None)
    return value[0] if isinstance(value, Sequence) and len(value) == 1 else value


def _mode(own: Any) -> str:
    mode = getattr(own, "interpolation", "")
    return str(getattr(mode, "value", mode))


def _floats(side: Any) -> tuple[float, ...]:
    if isinstance(side, (int, float)):
        return (float(side),)
    return tuple(float(x) for x in side)


def _channels(model: nn.Module) -> int | None:
    """Of the first convolution."""
    first = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
    return None if first is None else first.in_channels


def _fixed_size(model: nn.Module) -> tuple[int, int] | None:
    """The size for which a transformer's patches were made."""
    size = getattr(getattr(model, "patch_embed", None), "img_size", None)
    strict = getattr(model.patch_embed, "strict_img_size", True) if size else False
    if not size or not strict:
        return None
    return (int(size[0]), int(size[1]))
