"""What does a run tell beside its rows? Accounts, left-out parts, and numbers that add up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...engines.judge.ledger import Entry, add_entries
from ...engines.own.plans import DOUBT, LATE
from ...results.attack import AttackResult
from ...results.base.facts import Flag
from ...results.base.result import Result
from ...results.base.unknown import known_fields
from .draws import Fresh
from .protocols import Tally, read_tally
from .settings import MSASettings


@dataclass(frozen=True, eq=False)
class Told:
    """What the attack on some rows has to say; of several batches by `+`.

    books: the account of each source. n_odd: candidates with NaN or infinite pixels. left_out: why
    parts of the plan did not run. sources: what may break a row beside the lines of the plan.
    fresh: votes of a randomised target. tallies: number of a partition -> counts of its deployed
    batches, for a batch-dependent target. doubts: what else speaks against the rows.

    >>> (Told(n_odd=1) + Told(n_odd=2, left_out=frozenset(["square"]))).n_odd
    3
    """

    books: Mapping[str, Entry] = field(default_factory=dict)
    n_odd: int = 0
    left_out: frozenset[str] = frozenset()
    sources: tuple[str, ...] = ()
    fresh: Fresh | None = None
    tallies: Mapping[int, Tally] = field(default_factory=dict)
    doubts: tuple[Flag, ...] = ()

    def __add__(self, other: Told) -> Told:
        fresh = self.fresh or other.fresh
        if self.fresh is not None and other.fresh is not None:
            fresh = self.fresh + other.fresh
        empty, mine, theirs = Tally(), self.tallies, other.tallies
        return Told(
            books=add_entries(self.books, other.books),
            n_odd=self.n_odd + other.n_odd,
            left_out=self.left_out | other.left_out,
            sources=tuple(dict.fromkeys([*self.sources, *other.sources])),
            fresh=fresh,
            tallies={
                number: mine.get(number, empty) + theirs.get(number, empty)
                for number in dict.fromkeys([*mine, *theirs])
            },
            doubts=(*self.doubts, *other.doubts),
        )

    def to_dict(self) -> dict[str, Any]:
        """In JSON types; of votes only how many draws there were."""
        return {
            "books": {name: dict(vars(book)) for name, book in self.books.items()},
            "n_odd": self.n_odd,
            "left_out": sorted(self.left_out),
            "sources": list(self.sources),
            "fresh": None if self.fresh is None else self.fresh.n,
            "tallies": {str(n): tally.facts() for n, tally in self.tallies.items()},
            "doubts": [flag.to_dict() for flag in self.doubts],
        }

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Told:
        """The inverse of :meth:`to_dict`.

        >>> Told.from_dict(Told(n_odd=2).to_dict()).n_odd
        2
        """
        fresh = facts["fresh"]
        return cls(
            books={k: known_fields(Entry, v) for k, v in facts["books"].items()},
            n_odd=facts["n_odd"],
            left_out=frozenset(facts["left_out"]),
            sources=tuple(facts["sources"]),
            fresh=None if fresh is None else Fresh(fresh),
            tallies={int(n): read_tally(v) for n, v in facts["tallies"].items()},
            doubts=tuple(known_fields(Flag, flag) for flag in facts["doubts"]),
        )

    @classmethod
    def before(cls, earlier: Result | None) -> Told:
        """What an earlier result has told, of rows that are taken over from it."""
        if not isinstance(earlier, AttackResult):
            return cls()
        flags = {flag.code: flag for flag in earlier.flags}
        odd, parts = flags.get("non_finite_candidates"), flags.get("left_out")
        draws = earlier.settings.get("fresh_draws")
        tallies = earlier.tallies
        return cls(
            books={k: known_fields(Entry, v) for k, v in earlier.breakdown.items()},
            n_odd=0 if odd is None else odd.count or 0,
            left_out=frozenset(() if parts is None else parts.details.get("parts", ())),
            sources=earlier.sources,
            fresh=None if draws is None else Fresh(draws),
            tallies={n: read_tally(tallies[n]) for n in whole_partitions(earlier)},
        )

    def rules(self, settings: MSASettings) -> dict[str, Any]:
        """Settings that decide about the rows of a target that is not fixed, in JSON types."""
        found: dict[str, Any] = {}
        if self.tallies:
            found["deployed_batch"] = settings.deployed_rows
            found["headline"] = settings.headline
        if self.fresh is not None:
            found["fresh_draws"] = settings.fresh_draws
        return found

    def facts(self, settings: MSASettings) -> dict[str, Any]:
        """What was run and what it did, source by source, and counts of deployed batches."""
        found: dict[str, Any] = {
            "breakdown": {name: vars(book) for name, book in self.books.items()}
        }
        if self.tallies:
            found["tallies"] = {str(n): t.facts() for n, t in self.tallies.items()}
            found["deployed_batch"] = settings.deployed_rows
        return found

    def flags(self) -> list[Flag]:
        """Doubts of batches, odd candidates and parts that were left out."""
        found = list(self.doubts)
        if self.n_odd:
            text = "candidates had NaN or infinite pixels (NaN gradients?); they were left out"
            found.append(Flag("non_finite_candidates", text, self.n_odd))
        if self.left_out:
            why = "; ".join(sorted(self.left_out))
            text, parts = f"parts of the plan were left out: {why}", sorted(
                self.left_out
            )
            found.append(Flag("left_out", text, details={"parts": parts}))
        return found

    def of_gates(self, settings: MSASettings, result: AttackResult) -> list[Flag]:
        """Rows that stopped at a gate, and doubt of gradients where late stages broke much."""
        found, n = [], int((result.stopped_by >= 0).sum())
        if n:
            rel = float(result.rel[result.stopped_by >= 0].min())
            text = (
                f"rows were not attacked further: their smallest margin stayed above the share of "
                f"the clean one that a gate asks for (the smallest share is {rel:.2f}; stopped_by "
                'says at which part); version="full" has no gates'
            )
            found.append(Flag("stopped_at_gates", text, n))
        if not settings.is_own:
            return found + self.broken_by_square(len(result))
        late = sum(
            book.broken
            for name, book in self.books.items()
            if name.partition("/")[2].startswith(LATE)
        )
        if late > DOUBT * max(int((result.clean_correct == 1).sum()), 1):
            text = (
                "rows fell to noise or squares alone, after every gradient attack had left them: "
                'gradients are unreliable; say version="full", or give surrogates'
            )
            found.append(Flag("unreliable_gradients", text, late))
        return found

    def broken_by_square(self, n: int) -> list[Flag]:
        """AutoAttack's own doubt: Square lowers the accuracy of n rows by more than .2 points."""
        broken = sum(
            book.broken for name, book in self.books.items() if "square" in name
        )
        if broken <= 0.002 * max(n, 1):
            return []
        text = (
            "Square, which needs no gradient, broke rows that the gradient attacks had left: "
            "gradients may be masked; add surrogates, or run Square longer"
        )
        return [Flag("square_after_gradients", text, broken)]


def whole_partitions(earlier: Result | None) -> set[int]:
    """Partitions of a batch-dependent target of which an earlier result has every batch.

    The first one counts as far as it goes: its batches are those of the rows.
    """
    if not isinstance(earlier, AttackResult):
        return set()
    n = len(earlier)
    return {k for k, tally in earlier.tallies.items() if not k or tally["n"] == n}
