"""Is a data set sound? Copies within and between splits, label clashes, odd images, balance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ...errors import ConfigError, InputError
from ...numerics.arguments import parse_real, parse_whole
from ...numerics.likeness.pairs import THRESHOLD
from ...results.datasets.audit import DataAudit
from .copies import Compared, compare_splits
from .scan import Scan, scan_split


def data_audit(
    train: Any = None,
    test: Any = None,
    val: Any = None,
    *,
    near: float | None = THRESHOLD,
    batch_size: int = 512,
    listed: int = 100,
) -> DataAudit:
    """Compare the images of up to three splits and say what speaks against them; no model.

    Exact copies have the same pixels (to 1/65,280 of [0, 1], so that uint8 and float forms of one
    picture agree); each is counted beyond the first. Near copies agree in their low frequencies
    after a shift of up to one pixel (of the image, or of its 32 x 32 copy if that is smaller) and
    any change of brightness and contrast; colour, rotation and crops are not looked for. A label
    clash is a picture that occurs with two labels. The fingerprint of a split depends on pixels
    and labels, not on order, batches or dtype.

    Args:
        train, test, val: (images, labels), images, a Dataset, DataLoader or iterable of batches;
            uint8 or floats, (N, H, W), (N, C, H, W) or (N, H, W, C). At least one. Labels are
            class numbers; of data with several labels an image give the images alone.
        near: correlation of the low frequencies from which on two images are near copies, in
            (0, 1]; None looks for exact copies only.
        batch_size: of arrays and data sets; loaders have their own.
        listed: most pairs that are listed of each kind and pair of splits; all are counted.

    Returns:
        A :class:`~torchattacks_ext.DataAudit`. Memory: about 2.7 KB an image, whatever its size.
        Cost: no row-pass; near copies of n against m images take n m products of length 153.

    Raises:
        InputError: data that cannot be read. ConfigError: settings outside their domain.

    Example:
        >>> images = torch.rand(20, 1, 16, 16)
        >>> images[7] = images[3]
        >>> labels = torch.arange(20) % 2
        >>> audit = data_audit(train=(images[:10], labels[:10]), test=(images[9:], labels[9:]))
        >>> audit.overlap("train").exact, audit.overlap("test", "train").exact
        (1, 1)
        >>> [flag.code for flag in audit.flags]
        ['leak', 'duplicates']
    """
    given = {"train": train, "val": val, "test": test}
    return audited(given, near, batch_size, listed)[0]


def audited(
    splits: Mapping[str, Any],
    near: float | None,
    batch_size: int = 512,
    listed: int = 100,
) -> tuple[DataAudit, Compared]:
    """:func:`data_audit` of named splits (None: left out), and what was found row by row.

    >>> images = torch.rand(4, 1, 8, 8)
    >>> audit, found = audited({"train": images[:2], "test": images[1:]}, None)
    >>> found.marks["test", "train"].tolist()
    [2, 0, 0]
    """
    threshold = None if near is None else parse_real(near, "near")
    if threshold is not None and not 0 < threshold <= 1:
        raise ConfigError(f"near={near!r} is not in (0, 1]; give 0.99, or None")
    batch_size = parse_whole(batch_size, "batch_size", 1)
    listed = parse_whole(listed, "listed", 0)
    scans: list[Scan] = []
    size: tuple[int, int] | None = None
    with torch.no_grad():
        for name, data in splits.items():
            if data is None:
                continue
            scan = scan_split(name, data, batch_size, size, threshold is not None)
            if scan.portraits is not None:
                height, width = scan.portraits.copies.shape[1:]
                size = (height, width)
            scans.append(scan)
        if not scans:
            raise InputError("nothing to audit; give train=, test= or val=")
        found = compare_splits(scans, threshold, listed)
    audit = DataAudit(
        splits=tuple(scan.facts for scan in scans),
        overlaps=tuple(found.overlaps),
        label_clashes=found.label_clashes,
        clash_rows=found.clash_rows,
        copies=tuple(found.copies),
        settings={"near": threshold, "listed": listed},
    )
    return audit, found
