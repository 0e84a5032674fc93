"""Which rows show an image that was there before, whatever its id or its label?"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from ..numerics.ids import Contents
from ..results.base.facts import Flag


class Copies:
    """Counts rows whose pixels an earlier row had, in one pass over the data.

    n: such rows so far. n_relabelled: those of them whose label no earlier copy had. quiet: whether
    the caller's own ids name the rows, and so say that he knows them: a flag, but no warning.

    >>> import torch
    >>> copies = Copies()
    >>> copies.add(Contents(torch.zeros(3, 4), (0.0, 1.0)), torch.tensor([0, 0, 1]))
    >>> copies.n, copies.n_relabelled
    (2, 1)
    """

    def __init__(self) -> None:
        self.n = self.n_relabelled = 0
        self.quiet = False
        self._seen: dict[int, set[int | None]] = {}

    def add(self, contents: Contents, labels: Tensor | None) -> None:
        """Take note of what images show, and of their labels (N,)."""
        keys = contents.keys()
        names = [None] * len(keys) if labels is None else labels.tolist()
        for key, name in zip(keys, names):
            before = self._seen.setdefault(key, set())
            self.n += bool(before)
            self.n_relabelled += bool(before) and name not in before
            before.add(name)

    def flags(self) -> Iterator[Flag]:
        """What that says against the numbers: nothing where every image is there once."""
        if not self.n:
            return
        text = (
            "the data hold images that occur more than once; they are not independent images of "
            "the source, and its intervals and bounds count each once, the copies at their worst"
        )
        details: dict[str, int | bool | str] = {"same": "pixels"}
        if self.quiet:
            details["quiet"] = True
        if self.n_relabelled:
            text += (
                f"; {self.n_relabelled:,} of the copies have another label than the image had "
                "before, and an answer to both cannot be right"
            )
            details["relabelled"] = self.n_relabelled
        yield Flag("duplicates", text, self.n, details)
