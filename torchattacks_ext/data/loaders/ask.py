"""What does a name such as "hf:REPO,split=test" ask for? Its parts, and what goes with them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from ...errors import ConfigError

Resize = int | Callable[[Any], Tensor] | None
"""Side of a square, or an RGB image of PIL to pixels (C, H, W) in [0, 1]; None leaves sizes."""
_OPTION = re.compile(r",([a-z_]+)=([^,=]*)$")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._\-/]*")
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._\-]*(/[A-Za-z0-9][A-Za-z0-9._\-]*)?")


@dataclass(frozen=True)
class Ask:
    """A data set that is asked for.

    kind, name, options: of the spec "KIND:NAME,KEY=VALUE". n: at most so many images. resize: as
    :data:`Resize`. root: where downloaded sets lie, None for the source's own place. download:
    whether the network may be used.
    """

    kind: str
    name: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    n: int | None = None
    resize: Resize = None
    root: Path | None = None
    download: bool = False

    @property
    def spec(self) -> str:
        """As it was written."""
        told = "".join(f",{key}={value}" for key, value in self.options.items())
        return f"{self.kind}:{self.name}{told}" if self.name else self.kind

    def option(self, key: str, allowed: Sequence[str], default: str) -> str:
        """The value of an option. Raises ConfigError for one that is not allowed.

        >>> Ask("npz", "a.npz", {"split": "val"}).option("split", ("val", "test"), "test")
        'val'
        """
        value = self.options.get(key, default)
        if value not in allowed:
            raise ConfigError(
                f"{self.spec}: {key}={value!r} is not one of {', '.join(allowed)}"
            )
        return value


def split_spec(
    spec: str, keys: Mapping[str, Sequence[str]]
) -> tuple[str, str, dict[str, str]]:
    """Kind, name and options of a spec; keys: the options of each kind.

    Options stand at the end; a comma in a path is no option unless a key of the kind follows it.
    Raises ConfigError for an option that the kind does not have, and for one given twice.

    >>> split_spec("npz:a,b.npz,split=val", {"npz": ("split",)})
    ('npz', 'a,b.npz', {'split': 'val'})
    """
    kind, _, rest = spec.partition(":")
    options: dict[str, str] = {}
    while found := _OPTION.search(rest):
        key, value = found[1], found[2]
        if key not in keys.get(kind, ()):
            known = ", ".join(keys.get(kind, ())) or "none"
            raise ConfigError(
                f"data={spec!r}: {kind} has no option {key!r}; its options: {known}"
            )
        if key in options:
            raise ConfigError(f"data={spec!r} says {key} twice")
        options[key] = value
        rest = rest[: found.start()]
    return kind, rest, dict(reversed(options.items()))


def safe_name(name: str, what: str) -> str:
    """`name` if it is NAME or OWNER/NAME and leads nowhere else. Raises ConfigError.

    >>> safe_name("uoft-cs/cifar10", "hf:")
    'uoft-cs/cifar10'
    """
    if not _SAFE.fullmatch(name) or ".." in name:
        raise ConfigError(
            f"{what}{name!r} is no name (letters, digits, '.', '_', '-', one '/'); a folder is "
            "written ./FOLDER or from the root of the disk"
        )
    return name


def safe_revision(revision: str | None) -> str | None:
    """A branch, tag or commit that is one; None stays None. Raises ConfigError.

    >>> safe_revision("refs/pr/3")
    'refs/pr/3'
    """
    if revision is None or (_REVISION.fullmatch(revision) and ".." not in revision):
        return revision
    raise ConfigError(f"{revision!r} is no revision: a branch, a tag or a commit")


def local_folder(name: str) -> Path | None:
    """The folder that a name means: those that begin with '.', '/', '~' or a drive; else None.

    >>> local_folder("uoft-cs/cifar10") is None, local_folder("./set").name
    (True, 'set')
    """
    path = Path(name).expanduser()
    here = name.startswith((".", "/", "~", "\\")) or path.is_absolute()
    return path if here else None
