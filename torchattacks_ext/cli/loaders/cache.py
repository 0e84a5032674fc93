"""Where do published weights lie? In the caches of torch and of the hub; fetched only when told."""

from __future__ import annotations

import hashlib
import re
from importlib import import_module
from pathlib import Path
from typing import Any

from ...data.loaders.ask import safe_name, safe_revision
from ...errors import InputError, MissingExtra
from ..common import one_line

_HASH = re.compile(r"-([0-9a-f]{8,64})\.[a-z]+$")
_SHA256 = re.compile(r"[0-9a-f]{64}")
FILES = (
    *("config.json", "preprocessor_config.json", "processor_config.json"),
    *("*.safetensors", "*.safetensors.index.json"),
)
"""What is taken from a repository of the hub: settings and plain tensors, no code, no pickles."""


def torch_file(url: str, download: bool) -> Path:
    """The file of a URL in the cache of torch.hub, checked against the hash in its name.

    Raises InputError where it is not there and may not be fetched, where fetching fails, and for a
    file of another hash.
    """
    from torch import hub

    name = Path(url.rpartition("/")[2]).name
    path = Path(hub.get_dir()) / "checkpoints" / name
    found = _HASH.search(name)
    wanted = found[1] if found else ""
    if not path.is_file() and download:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            hub.download_url_to_file(url, str(path), wanted or None, progress=False)
        except Exception as error:  # urllib, the disk, the hash
            raise InputError(
                f"{url} could not be downloaded ({one_line(error)})"
            ) from error
    if not path.is_file():
        raise InputError(
            f"the weights are not in the cache ({path}), and they are downloaded with --download "
            "only"
        )
    if wanted:
        _check(path, wanted)
    return path


def hub_folder(repo: str, download: bool, revision: str | None = None) -> Path:
    """The folder of a repository in the cache of the hub, its weights checked.

    The cache names large files by their SHA-256, which is compared. Raises ConfigError for a name
    that is none; InputError as :func:`torch_file`; MissingExtra without huggingface-hub.
    """
    safe_name(repo, "hf:")
    safe_revision(revision)
    hub = _hub()
    try:
        folder = hub.snapshot_download(
            repo,
            revision=revision,
            allow_patterns=list(FILES),
            local_files_only=not download,
        )
    except Exception as error:  # of the network, of the hub, of the cache
        if download:
            raise InputError(
                f"{repo} could not be downloaded ({one_line(error)[:200]})"
            ) from error
        raise InputError(
            f"{repo} is not in the cache of the hub, and it is downloaded with --download only"
        ) from error
    for file in sorted(Path(folder).glob("*.safetensors")):
        blob = file.resolve().name
        if _SHA256.fullmatch(blob):
            _check(file, blob)
    return Path(folder)


def _hub() -> Any:
    try:
        return import_module("huggingface_hub")
    except ImportError as error:
        raise MissingExtra(
            "models of the hub need huggingface-hub; pip install 'torchattacks_ext[hub]'"
        ) from error


def _check(path: Path, wanted: str) -> None:
    total = hashlib.sha256()
    with path.open("rb") as content:
        while block := content.read(1 << 20):
            total.update(block)
    if not total.hexdigest().startswith(wanted):
        raise InputError(
            f"{path} has SHA-256 {total.hexdigest()[:16]}..., published is {wanted[:16]}: it is "
            "damaged or another file; remove it and say --download"
        )
