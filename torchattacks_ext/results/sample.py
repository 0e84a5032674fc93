"""What is a result whose rows are a sample of a source? Its groups, and rows that come again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeVar

from .base.groups import rows_by_group
from .base.origin import named_beforehand
from .base.result import Result

SampleT = TypeVar("SampleT", bound="Sample")


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Sample(Result):
    """Base of the families that say something of the images as a whole, and of each group.

    >>> import torch
    >>> result = Sample(ids=torch.tensor([1, 2, 3]), groups=("day", "night", "day"))
    >>> {name: len(part) for name, part in result.by_group().items()}, result.n_copies
    ({'day': 2, 'night': 1}, 0)
    """

    @property
    def n_copies(self) -> int:
        """Rows whose image an earlier row had, as a flag says: not independent of the others.

        Only flags that name what was compared ("same": "pixels") count: those of older files do not
        say whether every copy was seen, and their numbers stay what they were.
        """
        said = [flag for flag in self.flags if flag.details.get("same") == "pixels"]
        return sum(flag.count or 0 for flag in said if flag.code == "duplicates")

    def by_group(self: SampleT) -> dict[str, SampleT]:
        """The rows of each group as a result of their own, in order of name; {} without groups.

        Claims of several groups are several claims: at 95 % each, one in twenty is wrong. Groups
        that were named after the run are rows that were chosen.
        """
        parts = {}
        known = named_beforehand(self.provenance, self.ids, self.groups)
        for name, rows in rows_by_group(self.groups).items():
            part = self._part(rows, known)
            origin = {k: v for k, v in part.provenance.items() if k != "groups"}
            parts[name] = replace(part, groups=None, provenance=origin)
        return parts

    def group_summaries(self, confidence: float) -> dict[str, Any]:
        """{"groups": name -> its summary}, or {} without groups."""
        found = self.by_group().items()
        return (
            {"groups": {n: part.summary(confidence) for n, part in found}}
            if found
            else {}
        )
