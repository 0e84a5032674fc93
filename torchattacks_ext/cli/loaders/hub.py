"""How does "hf:OWNER/NAME" become a model? From the cache or a folder, by safetensors alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from ...data.loaders.ask import local_folder
from ...errors import InputError, MissingExtra
from ..common import one_line
from .cache import hub_folder
from .checkpoints import few
from .image_models import of_folder, read_config
from .loaded import Loaded
from .names import of_config
from .tensors import check_index

_PROCESSORS = ("preprocessor_config.json", "processor_config.json")


def load_hub(spec: str, download: bool) -> Loaded:
    """The image classifier "OWNER/NAME[@REVISION]" or "./FOLDER": of transformers or of timm.

    Code in the repository is never run. Raises ConfigError for a wrong name; InputError for files
    that are missing, pickled only, or lack weights; MissingExtra without the packages.
    """
    said = f"hf:{spec}"
    folder = local_folder(spec)
    if folder is None:
        repo, _, revision = spec.partition("@")
        folder = hub_folder(repo, download, revision or None)
    elif not folder.is_dir():
        raise InputError(f"{said} is not a folder")
    folder = folder.resolve()  # a bare name would be a repository to the packages
    config = read_config(folder, said)
    if "architecture" in config and "model_type" not in config:
        return of_folder(folder, said)
    return _of_transformers(folder, config, said)


def _of_transformers(folder: Path, config: dict[str, Any], said: str) -> Loaded:
    if config.get("auto_map"):
        raise InputError(
            f"{said} brings code of its own (auto_map), which is never run; give a factory that "
            "builds the model: --model package.module:factory"
        )
    check_index(folder, said)
    if not any(folder.glob("*.safetensors")):
        raise InputError(
            f"{said} has no *.safetensors; pickled weights are not read: load, and save them anew "
            "with save_pretrained(PATH)"
        )
    package = _package()
    try:
        with _no_bars(package):
            model, told = package.AutoModelForImageClassification.from_pretrained(
                str(folder),
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
            )
    except Exception as error:  # whatever its config leads to
        raise InputError(
            f"{said} is no image classifier: {one_line(error)[:300]}"
        ) from error
    lost = sorted([*told.get("missing_keys", ())])
    odd = [str(one[0]) for one in told.get("mismatched_keys", ())]
    if lost or odd:
        names = few([*lost, *sorted(odd)])
        raise InputError(
            f"{said} lacks weights of the classifier ({names}), which would be random; take a "
            "repository that was trained to classify"
        )
    notes = _notes(config, told)
    known, unsaid = _preprocessing(package, folder, said)
    classes = of_config(getattr(model.config, "id2label", None))
    return Loaded(model, said, known, unsaid, classes, notes)


@contextmanager
def _no_bars(package: Any) -> Iterator[None]:
    """Without bars of progress and lists of tensors, which are as before afterwards."""
    log = package.utils.logging
    shown, level = log.is_progress_bar_enabled(), log.get_verbosity()
    log.disable_progress_bar()
    log.set_verbosity_error()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if shown:
            log.enable_progress_bar()


def _notes(config: dict[str, Any], told: Any) -> tuple[str, ...]:
    found = []
    extra = sorted(told.get("unexpected_keys", ()))
    if extra:
        found.append(
            f"{len(extra)} tensors of the file are not in the model: {few(extra)}"
        )
    if config.get("problem_type") == "multi_label_classification":
        found.append(
            "trained for several labels an image: the largest score is taken as the class"
        )
    return tuple(found)


def _preprocessing(package: Any, folder: Path, said: str) -> tuple[Any, str]:
    """What its processor does, or why nobody knows."""
    from ...models.preprocessing.read import of_processor

    if not any((folder / name).is_file() for name in _PROCESSORS):
        return (
            None,
            f"{said} has no {_PROCESSORS[0]}, and nothing says how its images are prepared",
        )
    for name in _PROCESSORS:
        path = folder / name
        if path.is_file() and "auto_map" in path.read_text(
            encoding="utf-8", errors="replace"
        ):
            raise InputError(
                f"{said} prepares its images by code of its own (auto_map), which is never run; "
                "give a factory whose model takes pixels in [0, 1]"
            )
    try:
        processor = package.AutoImageProcessor.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
    except Exception as error:
        return (
            None,
            f"{said}: its image processor cannot be built ({one_line(error)[:200]})",
        )
    return of_processor(processor, said), ""


def _package() -> Any:
    try:
        return import_module("transformers")
    except ImportError as error:
        raise MissingExtra(
            f"hf: models need transformers ({error}); pip install transformers huggingface-hub"
        ) from error
