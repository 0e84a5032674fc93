"""How does one line of a plan become runs of torchattacks' components, and offers to the ledger?

As with AutoAttack's (:mod:`~torchattacks_ext.engines.autoattack.runs`), one run for each restart
and target, each query on the way a candidate, rows that the target has lost left out of the next
run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...errors import InputError
from ..autoattack.runs import AutoAttackEngine, Run
from ..judge.harvest import Tap
from ..judge.ledger import AttackSpec, Ledger
from . import components as zoo


@dataclass
class ZooEngine(AutoAttackEngine):
    """Drives torchattacks' APGD, APGDT, FAB and Square, one run at a time, over one ledger.

    The arguments are those of :class:`~torchattacks_ext.engines.autoattack.runs.AutoAttackEngine`:
    models (name -> module, pixels to logits (N, K)), ids (B,), n_classes K >= 2, seed >= 0, meter,
    probe_every, budget, peeks. Images (N, ...); one float radius, Linf or L2.

    Random numbers: torchattacks draws from the global generator, which each run seeds anew from
    (seed, source, run); so call it inside a :class:`~torchattacks_ext.engines.fork.ForkedRng`. A
    draw belongs to a position in the batch, not to a sample: what is found depends on how
    batches are cut. Only the kind "noise" follows the samples.

    "warm" is left out, with a reason in `skipped`: torchattacks' APGD takes no start.

    Cost: as AutoAttackEngine's, and one forward row-pass more a row for each target of apgd-t.

    >>> from torchattacks_ext.engines.judge.active import Judge
    >>> from torchattacks_ext.engines.fork import ForkedRng
    >>> from torchattacks_ext.models.meter import Meter
    >>> from torchattacks_ext.testing import small_net
    >>> net, images = small_net().eval(), torch.full((2, 1, 8, 8), 0.5)
    >>> ledger = Ledger.open(Judge(net, False, 2), images, net(images).argmax(1), 0.5, "Linf")
    >>> engine = ZooEngine({"target": net}, torch.arange(2), 3, 0, Meter())
    >>> with ForkedRng(0):
    ...     engine.run("target", AttackSpec("apgd", steps=5), ledger)
    ...     engine.run("target", AttackSpec("warm", steps=5), ledger)
    >>> ledger.sources[0], sorted(engine.skipped)
    ('target/apgd-ce-5', ["warm needs a start, which torchattacks' APGD does not take"])
    """

    name: str = "torchattacks"

    def run(self, surrogate: str, spec: AttackSpec, ledger: Ledger) -> None:
        """All runs of one line on one model. What was skipped, and why, stands in `skipped`.

        Raises ConfigError in L1, InputError where each row has a radius of its own.
        """
        zoo.check_norm(ledger.norm)
        if isinstance(ledger.eps, Tensor):
            raise InputError(
                "torchattacks' components take one radius for all rows, not one a row: say "
                'engine="autoattack"'
            )
        super().run(surrogate, spec, ledger)

    def _runs(self, tap: Tap, surrogate: str, spec: AttackSpec) -> Iterator[Run]:
        if spec.kind == "warm":
            why = "warm needs a start, which torchattacks' APGD does not take"
            self.skipped.add(why)
            return
        yield from super()._runs(tap, surrogate, spec)

    def _seed(self, source: str, number: int) -> None:
        """Seed the global generators (of the fork around the attack) for one run."""
        text = f"{self.seed}/{source}/{number}".encode()
        digest = hashlib.blake2b(text, digest_size=4).digest()
        torch.manual_seed(int.from_bytes(digest, "little"))

    def _hand_in(self, tap: Tap, rows: Tensor, found: Tensor) -> None:
        """Offer what a component found, (M, ...) on [0, 1]."""
        tap.ledger.offer(rows, tap.ledger.unit.back(found), tap.source)

    def _components(self, tap: Tap, images: Tensor, eps: float) -> zoo.Components:
        return zoo.Components(tap, images, eps, tap.ledger.norm, self.n_classes)

    def _apgd(
        self,
        tap: Tap,
        spec: AttackSpec,
        numbers: Sequence[int],
        rows: Tensor,
        eps: Any,
    ) -> None:
        """One APGD run from random starts; its number is the rank of what "apgd-t" aims at."""
        (number,) = numbers
        images, labels = tap.part(rows)
        of_kind = self._components(tap, images, eps)
        if spec.kind == "apgd-t":
            attack = of_kind.apgd_targeted(spec.steps)
            attack.target_class = number
        else:
            attack = of_kind.apgd(spec.steps, spec.loss)
        self._seed(tap.source, number)
        best, _, _, adversarial = attack.attack_single_run(
            zoo.as_pictures(images), labels
        )
        for found in (adversarial, best):
            self._hand_in(tap, rows, found.detach().reshape(images.shape))

    def _fab(
        self, tap: Tap, spec: AttackSpec, ranks: Sequence[int], rows: Tensor, eps: Any
    ) -> None:
        """One FAB run on the rows that the surrogate gets right (FAB leaves others alone)."""
        (rank,), rows = ranks, tap.right(rows)
        if not len(rows):
            return
        tap.watch(rows)
        images, labels = tap.part(rows)
        attack = self._components(tap, images, eps).fab(spec.steps)
        attack.target_class = rank
        run = attack.attack_single_run_targeted if rank else attack.attack_single_run
        with torch.no_grad():
            found = run(images, labels, use_rand_start=False)
        self._hand_in(tap, rows, found)

    def _square_misfit(self, ledger: Ledger) -> str:
        return zoo.square_misfit(ledger.images, ledger.norm)

    def _square_run(self, tap: Tap, spec: AttackSpec, rows: Tensor, eps: Any) -> None:
        images, labels = tap.part(rows)
        attack = self._components(tap, images, eps).square(spec.steps)
        attack.init_hyperparam(images)
        self._seed(tap.source, 0)
        _, found = attack.attack_single_run(images, labels)
        self._hand_in(tap, rows, found)
