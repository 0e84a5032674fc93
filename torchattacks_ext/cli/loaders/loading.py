"""How does the name of a model on the command line become a model? Sent to the way that reads it.

Executed is only what the user names: the module of a factory, of --model or --arch. A weight file
is read by PyTorch's restricted reader or as safetensors, which build tensors and run nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ConfigError, InputError
from ...models.adapters.maite import labels_of
from . import image_models, vision
from .checkpoints import SUFFIXES, Weights, few, read_weights, refuse_other_formats
from .factories import call_factory
from .filling import fill, fitted, other_classes
from .hub import load_hub
from .loaded import Loaded
from .names import imagenet_names
from .tensors import INDEX, SUFFIX, read_tensors

if TYPE_CHECKING:
    from torch import nn

ONNX = ".onnx"
FILES = (*SUFFIXES, SUFFIX, INDEX)
_PUBLISHED: dict[str, Callable[[str, bool], Loaded]] = {
    "torchvision": vision.load_vision,
    "timm": image_models.load_timm,
    "hf": load_hub,
}


def load_model(
    spec: str,
    arch: str | None = None,
    weights: str | None = None,
    *,
    download: bool = False,
) -> Loaded:
    """The model that `spec` names, in eval mode, with its name in a report and what is known of it.

    spec: one of

    - "package.module:factory": a function without arguments that returns a Module on pixels in
      [0, 1], or a model of MAITE's form; the current folder is searched first;
    - "torchvision:NAME[@WEIGHTS]", "timm:NAME[.TAG]", "hf:OWNER/NAME[@REVISION]", "hf:./FOLDER":
      published models with their preprocessing and the names of their classes, from the cache, or
      from the network with `download`; "@none" gives random weights;
    - FILE.onnx, run by onnxruntime: scores only;
    - a file (.pt, .pth, .th, .ckpt, .safetensors, .safetensors.index.json) with a state_dict or a
      container of one, which needs `arch`: a factory of the empty model, "torchvision:NAME" or
      "timm:NAME.TAG" (the number of classes is that of the file); and may need `weights`, the key
      of those that are meant.

    Raises ConfigError, InputError and MissingExtra.
    """
    kind, _, name = spec.partition(":")
    path = Path(spec)
    if kind in _PUBLISHED and name:
        _refuse_options(spec, arch, weights)
        loaded = _PUBLISHED[kind](name, download)
    elif spec and path.is_dir():
        refuse_other_formats(path)
        raise ConfigError(
            f"--model {spec} is a folder; one of the hub's form is written hf:./FOLDER"
        )
    elif path.suffix.lower() == ONNX:
        _refuse_options(spec, arch, weights)
        loaded = _onnx(path)
    elif path.name.endswith(FILES) or path.suffix.lower() in SUFFIXES or path.is_file():
        loaded = _from_file(path, arch, weights)
    else:
        _refuse_options(spec, arch, weights)
        model = call_factory(spec, "--model")
        names = labels_of(getattr(model, "model", None))
        classes = None if names is None else imagenet_names(names)
        loaded = Loaded(model, spec, classes=classes)
    return replace(loaded, model=in_eval_mode(loaded.model))


def _refuse_options(spec: str, arch: str | None, weights: str | None) -> None:
    for option, value in (("--arch", arch), ("--weights", weights)):
        if value is not None:
            raise ConfigError(
                f"{option} {value} belongs to a file of weights ({', '.join(FILES)}), "
                f"--model is {spec!r}"
            )


def in_eval_mode(model: nn.Module) -> nn.Module:
    """The model, told `eval()`; an exported graph or a frozen script has no modes to set.

    >>> from torch import nn
    >>> in_eval_mode(nn.Dropout()).training
    False
    """
    from ...models.modes import change

    try:
        return model.eval()
    except (NotImplementedError, AttributeError):
        change(model, False)
        return model


def _onnx(path: Path) -> Loaded:
    from ...models.onnx import OnnxModel

    model = OnnxModel(path)
    notes = [
        "scores only, by onnxruntime on the CPU; nothing in the file says how images are prepared: "
        "pixels in [0, 1] unless --mean and --std say otherwise"
    ]
    if model.batch is not None:
        notes.append(f"asked in batches of {model.batch}, which the file fixes")
    if model.last:
        notes.append("given images (N, H, W, C)")
    return Loaded(model, path.name, notes=tuple(notes))


def _from_file(path: Path, arch: str | None, weights: str | None) -> Loaded:
    if not path.is_file():
        raise InputError(f"--model {path} is not a file")
    refuse_other_formats(path)
    if arch is None:
        raise ConfigError(
            f"--model {path} holds weights only; say which model they belong to: "
            "--arch package.module:factory"
        )
    plain = path.name.endswith((SUFFIX, INDEX))
    if plain and weights is not None:
        raise ConfigError(f"--weights {weights}: {path.name} holds one set of weights")
    found = Weights(read_tensors(path)) if plain else read_weights(path, weights)
    loaded = _empty(arch, found.state)
    wanted = loaded.model.state_dict()
    fill(loaded.model, fitted(found.state, wanted), str(path), f"--arch {arch}")
    notes = (*loaded.notes, *filter(None, (found.note,)))
    return replace(loaded, name=_name(path, found), notes=notes)


def _empty(arch: str, state: dict[str, Any]) -> Loaded:
    """The model without its weights: a user's own, or a published architecture of as many classes
    as the file has.
    """
    kind, _, name = arch.partition(":")
    if kind not in ("torchvision", "timm") or not name:
        return Loaded(call_factory(arch, "--arch"), arch)
    bare, _, tag = name.partition("@")
    build = vision.build_vision if kind == "torchvision" else image_models.build_timm
    model = build(bare)
    number = other_classes(state, model.state_dict())
    if number is not None:
        model = build(bare, number)
    if kind == "timm":
        if tag:
            raise ConfigError(f"--arch {arch}: a tag is written timm:NAME.TAG")
        known = image_models.of_tag(model, bare)
    else:
        known = vision.of_tag(bare, tag) if tag else None
    why = ""
    if known is None:
        form = "torchvision:NAME@WEIGHTS" if kind == "torchvision" else "timm:NAME.TAG"
        why = (
            f"--arch {arch} does not say how the images of these weights were prepared: name their "
            f"tag ({form})"
        )
    caution = vision.other_function(bare) if kind == "torchvision" else ""
    notes = (caution,) if caution else ()
    return Loaded(model, arch, known, why, notes=notes)


def _name(path: Path, found: Weights) -> str:
    """The file; where it holds several weights, also which were taken and which not."""
    if not found.others:
        return path.name
    return f"{path.name}: {found.taken} (not {few(list(found.others))})"
