"""What is left of a target that answers at random? Counts of draws that chose nothing.

Search and report never share a draw: candidates are found by single draws, chosen by further ones
(:mod:`torchattacks_ext.engines.judge.screen`), and what the result says comes from `fresh_draws`
draws after that. The same number of draws on the clean images, twice, is the control: how often
would the rule call an image broken that nobody touched?
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from ...engines.autoattack.runs import TARGET
from ...engines.judge.active import Array
from ...engines.judge.screen import CHOICE, POOL, ScreenLedger, votes
from ...results.base.facts import Flag
from . import run as msa_run

if TYPE_CHECKING:
    from .msa import MSA


@dataclass
class Fresh:
    """Votes of fresh draws over some rows; counts of right answers (B,) of `n` draws each.

    clean, control: on the clean image, two separate sets of draws; found: on the candidate. broken:
    most votes of `found` are wrong; doubted: most of `control` are, though those of `clean` were
    right. one_draw: some draw of `control` is wrong. right: most of `clean` are right.
    """

    n: int
    clean: Array = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    control: Array = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    found: Array = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    right: Array = field(default_factory=lambda: np.zeros(0, dtype=bool))
    doubted: Array = field(default_factory=lambda: np.zeros(0, dtype=bool))
    broken: Array = field(default_factory=lambda: np.zeros(0, dtype=bool))

    def __add__(self, other: Fresh) -> Fresh:
        names = ("clean", "control", "found", "right", "doubted", "broken")
        joined = {
            k: np.concatenate([getattr(self, k), getattr(other, k)]) for k in names
        }
        return Fresh(self.n, **joined)

    def facts(self) -> dict[str, Any]:
        """Shares over all rows, in JSON types; `nan` without rows."""
        kept = self.right & ~self.broken

        def share(values: Array) -> float:
            return float(values.mean()) if len(values) else float("nan")

        return {
            "draws": self.n,
            "clean_expected_accuracy": share(self.clean / self.n),
            "clean_majority_accuracy": share(self.right),
            "expected_accuracy": share(np.where(self.right, self.found, 0) / self.n),
            "majority_accuracy": share(kept),
            "control_broken_by_majority": share(self.doubted[self.right]),
            "control_broken_by_one_draw": share(
                (self.control < self.n)[self.right],
            ),
        }

    def tell(self, probe: MSA) -> None:
        """Put the numbers and their sentence beside the rows of a result."""
        probe._facts["randomised"] = self.facts()
        probe._doubts.append(self.flag())

    def flag(self) -> Flag:
        """The numbers as one sentence; they stand beside every result of a randomised target."""
        facts = self.facts()
        text = (
            f"randomised target, {self.n} fresh draws an image: expected accuracy "
            f"{facts['expected_accuracy']:.3f} (clean {facts['clean_expected_accuracy']:.3f}), by "
            f"majority {facts['majority_accuracy']:.3f} (clean "
            f"{facts['clean_majority_accuracy']:.3f}); on untouched images the rule breaks "
            f"{facts['control_broken_by_majority']:.3f}, one unlucky draw in {self.n} would break "
            f"{facts['control_broken_by_one_draw']:.3f}"
        )
        return Flag("fresh_draws", text)


def attack_at_random(
    probe: MSA, images: Tensor, labels: Tensor, ids: Tensor
) -> tuple[ScreenLedger, Fresh]:
    """The plan by screening, then fresh draws. Runs inside a session of the target.

    The ledger afterwards says what the votes say: `right`, `alive`, and `breaker` -1 for rows whose
    candidate the votes clear. Cost beside the plan's: 4 x fresh_draws forward row-passes an image.
    """
    with msa_run.borrowed(probe) as models:
        judge = msa_run.judge_of(probe, models, len(images))
        ledger = ScreenLedger.open(
            judge, images, labels, float(probe.eps), probe.norm, probe.bounds
        )
        k, target = msa_run.n_classes_of(models, images), models[TARGET]
        wanted = labels.cpu().numpy()
        clean = _ask(probe, target, images, k)
        right = clean.argmax(1) == wanted
        ledger.start_from(right)
        msa_run.attack(probe, models, ledger, ids, reserve_of(probe, len(images)))
        ledger.settle()
        control = _ask(probe, target, images, k)
        found = _ask(probe, target, ledger.best, k)
    rows = np.arange(len(wanted))
    broken = right & (found.argmax(1) != wanted)
    ledger.breaker[~broken] = -1
    ledger.breaker[broken] = ledger.lead[broken]
    ledger.prediction = found.argmax(1)
    return ledger, Fresh(
        probe.fresh_draws,
        clean=clean[rows, wanted],
        control=control[rows, wanted],
        found=found[rows, wanted],
        right=right,
        doubted=right & (control.argmax(1) != wanted),
        broken=broken,
    )


def reserve_of(probe: MSA, n: int) -> int:
    """Row-passes after the last run on n images: a pool to settle, and the votes that report.

    >>> from torchattacks_ext import MSA
    >>> reserve_of(MSA(lambda images: images, fresh_draws=10), 2)
    240
    """
    return n * (POOL * CHOICE + 2 * probe.fresh_draws)


def _ask(probe: MSA, target: nn.Module, images: Tensor, k: int) -> Array:
    return votes(target, images, probe.fresh_draws, k, probe.batch_size)
