"""How do the options of `monitor` become a model, images and what was done to them?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...data.loaders.ask import Ask, split_spec
from ...errors import ConfigError, InputError
from ...numerics.arguments import parse_whole
from .. import common
from ..loaders.inputs import Given, on_device, read_data
from ..loaders.loading import load_model

if TYPE_CHECKING:
    from ...data.loaders.labelled import NamedData
    from ...results.monitor.alert import Alert
    from ..loaders.loaded import Loaded


@dataclass(frozen=True)
class Options:
    """What names model and data, as given on the command line."""

    model: str
    data: str
    arch: str | None = None
    weights: str | None = None
    n: int | None = None
    mean: str | None = None
    std: str | None = None
    resize: str | None = None
    data_root: Path | None = None
    download: bool = False
    device: str | None = None


@dataclass(frozen=True, eq=False)
class Read:
    """Model on pixels in [0, 1], images, and how they were prepared, in JSON types."""

    model: Any
    data: NamedData
    prepared: dict[str, Any]

    def batches(self, size: int) -> Any:
        """The images with whatever labels they have, in their order."""
        return self.data.loader(size)


def read(options: Options) -> Read:
    """Load both. Raises ConfigError, InputError, MissingExtra."""
    loaded = load_model(
        options.model, options.arch, options.weights, download=options.download
    )
    data = _images(options, loaded)
    loaded = on_device(loaded, options.mean, options.std, options.device, data)
    for flag in loaded.flags:
        common.warn(f"{flag.code}: {flag.message}")
    prepared: dict[str, Any] = {}
    if options.resize is not None:
        prepared["resize"] = options.resize
    if loaded.preprocessing is not None:
        prepared["preprocessing"] = loaded.preprocessing.facts()
    if options.mean is not None and options.std is not None:
        prepared["mean"] = common.numbers(options.mean, "--mean")
        prepared["std"] = common.numbers(options.std, "--std")
    return Read(loaded.model, data, prepared)


def _images(options: Options, loaded: Loaded) -> NamedData:
    """The images; labels are not looked at, and an archive need not have any."""
    if options.data.startswith("npz:") and options.resize is None:
        from ...data.loaders.npz import load_unlabelled
        from ...data.named import OPTIONS

        try:
            kind, path, more = split_spec(options.data, OPTIONS)
            n = None if options.n is None else parse_whole(options.n, "n", 1)
            return load_unlabelled(Ask(kind, path, more, n, None, None, False))
        except (ConfigError, InputError) as error:
            raise type(error)(f"--data: {error}") from error
    root = options.data_root
    given = Given(options.n, options.resize, root, "as-is", options.download)
    return read_data(options.data, given, loaded)


def check_new_file(path: Path, option: str) -> None:
    """Refuse a place that cannot become a file, before any work."""
    if path.is_dir() or not path.absolute().parent.is_dir():
        why = "it is a folder" if path.is_dir() else "its folder is not there"
        raise InputError(f"{option} {path} cannot be written: {why}")


def tell(alert: Alert, out: Path | None, json_: bool) -> int:
    """Print and write an alert; the exit code: 1 for an alarm."""
    from ...reports.monitor import render_alert

    text = alert.to_json()
    if out is not None:
        files = {
            "alert.json": text + "\n",
            "alert.md": render_alert(alert, markdown=True) + "\n",
        }
        common.write_files(out, files)
    common.show(text if json_ else render_alert(alert))
    return 1 if alert.alarm else 0
