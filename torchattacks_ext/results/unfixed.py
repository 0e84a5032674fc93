"""What is left of a target whose answers are not fixed? Numbers of the rows at hand, in words too.

A target that answers at random is told by fresh draws; one whose answers depend on the batch by
counts over deployed batches ("tallies"), which add up where results do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .base.facts import Flag
from .base.shares import share

PROTOCOLS = ("iso", "union", "realised")
"""What is attacked of a batch-dependent target: one image, or the whole batch (two readings)."""
NUMBERS = ("clean", *PROTOCOLS, "bystanders_clean", "bystanders")

Tallies = dict[int, Mapping[str, Any]]
"""Number of a partition -> "counts" in the order of `NUMBERS`, "n" rows, "n_rest" bystanders."""


def of_draws(
    draws: Tensor,
    right: Tensor,
    broken: Tensor,
    counts: Mapping[str, Tensor],
    control_broken: Tensor,
) -> dict[str, Any]:
    """Accuracies of a randomised target over the rows that were drawn; {} for none.

    draws (N,) int64: fresh draws, 0 where there were none. right, broken (N,) bool: most clean
    draws are right; and most on the candidate are wrong. counts: "clean", "found" and "control" ->
    (N,) right answers. control_broken (N,): 1 where most of the control are wrong, -1 not known.
    """
    known = draws > 0
    if not bool(known.any()):
        return {}
    n, right, broken = draws[known].double(), right[known], broken[known]
    clean, found, control = (counts[name][known] for name in _COUNTS)
    numbers: dict[str, Any] = {
        "draws": int(draws.max()),
        "clean_expected_accuracy": float((clean / n).mean()),
        "clean_majority_accuracy": share(right),
        "expected_accuracy": float((found * right / n).mean()),
        "majority_accuracy": share(right & ~broken),
    }
    doubted = control_broken[known]
    if bool((doubted >= 0).all()):
        numbers["control_broken_by_majority"] = share((doubted == 1)[right])
        numbers["control_broken_by_one_draw"] = share((control < n)[right])
    return numbers


_COUNTS = ("clean", "found", "control")


def draws_flag(numbers: Mapping[str, Any]) -> Flag:
    """The numbers as one sentence; they stand beside every result of a randomised target."""
    text = (
        f"randomised target, {numbers['draws']} fresh draws an image: expected accuracy "
        f"{numbers['expected_accuracy']:.3f} (clean {numbers['clean_expected_accuracy']:.3f}), by "
        f"majority {numbers['majority_accuracy']:.3f} (clean "
        f"{numbers['clean_majority_accuracy']:.3f})"
    )
    if "control_broken_by_majority" in numbers:
        text += (
            "; on untouched images the rule breaks "
            f"{numbers['control_broken_by_majority']:.3f}, one unlucky draw in "
            f"{numbers['draws']} would break {numbers['control_broken_by_one_draw']:.3f}"
        )
    return Flag("fresh_draws", text)


def of_tallies(tallies: Tallies) -> dict[str, list[float]]:
    """Protocol -> one accuracy a partition, as far as partitions are of as many rows as the first.

    A budget may end a run within a partition; numbers of fewer rows are no second deployment.

    >>> one, half = {"counts": [2.0] * 6, "n": 4, "n_rest": 2}, {"counts": [1.0] * 6, "n": 2}
    >>> of_tallies({0: one, 1: {**half, "n_rest": 1}})["iso"]
    [0.5]
    """
    if 0 not in tallies:
        return {}
    like = [t for _, t in sorted(tallies.items()) if t["n"] == tallies[0]["n"]]
    parts = [_accuracies(tally) for tally in like]
    return {name: [part[name] for part in parts] for name in NUMBERS}


def _accuracies(tally: Mapping[str, Any]) -> dict[str, float]:
    of = [tally["n"]] * 4 + [tally["n_rest"]] * 2
    return {
        name: float(count / whole) if whole else float("nan")
        for name, count, whole in zip(NUMBERS, tally["counts"], of)
    }


def of_answers(clean: Tensor, answers: Mapping[str, Tensor]) -> dict[str, list[float]]:
    """The same from rows alone, where all of them are known: of the first partition, no bystanders.

    clean (N,) and answers (protocol -> (N,)): 1, 0, or -1 where not known.

    >>> one = torch.tensor([1, 0], dtype=torch.int8)
    >>> of_answers(one, {name: one for name in PROTOCOLS})["realised"]
    [0.5]
    """
    every = torch.stack([answers[name] for name in PROTOCOLS])
    if not every.numel() or bool((every < 0).any()):
        return {}
    shares = {"clean": clean, **answers}
    return {name: [share(shares[name] == 1)] for name in NUMBERS[:4]}


def protocols_flag(
    found: Mapping[str, Sequence[float]], headline: str, size: int
) -> Flag:
    """All protocols as one sentence; they stand beside every result of such a target."""
    said = []
    for name, values in found.items():
        low, high = min(values), max(values)
        spread = f" ({low:.3f} to {high:.3f})" if len(values) > 1 else ""
        said.append(f"{name.replace('_', ' ')} {values[0]:.3f}{spread}")
    n = len(found["iso"])
    text = (
        f"batch-dependent target in batches of {size}, {n} partitions: accuracy "
        f"{', '.join(said)}; the rows hold {headline} of the first partition"
    )
    parts = [{name: values[i] for name, values in found.items()} for i in range(n)]
    return Flag("batch_protocols", text, details={"partitions": parts})


def joined_tallies(parts: Iterable[Tallies]) -> Tallies:
    """The counts of results of disjoint data; {} where one of them has none.

    >>> one = {0: {"counts": [1.0] * 6, "n": 2, "n_rest": 1}}
    >>> joined_tallies([one, one])[0]["n"], joined_tallies([one, {}])
    (4, {})
    """
    first, *others = list(parts)
    shared = set(first).intersection(*others) if first else set()
    return {
        number: {
            "counts": [
                sum(c) for c in zip(*(p[number]["counts"] for p in (first, *others)))
            ],
            "n": sum(part[number]["n"] for part in (first, *others)),
            "n_rest": sum(part[number]["n_rest"] for part in (first, *others)),
        }
        for number in sorted(shared)
    }
