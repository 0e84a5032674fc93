"""What does AutoAttack's own sequence leave when torchattacks' components run it?

The protocol is that of :mod:`~torchattacks_ext.engines.autoattack.sequence`: each component's
`perturb` on the rows that are still robust, packed anew into batches and seeded by one number for
every batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ...numerics.unit import OnUnit
from ..autoattack import upstream as aa
from ..autoattack.sequence import StandardSequence
from ..judge.ledger import Ledger
from . import components as zoo


@dataclass
class ZooSequence(StandardSequence):
    """AutoAttack's protocol with torchattacks' APGD, APGDT, FAB and Square, judged on the target.

    The arguments are those of
    :class:`~torchattacks_ext.engines.autoattack.sequence.StandardSequence`: name of the model in
    the books; model, pixels to logits (N, K); n_classes K >= 2; seed >= 0; batch_size; meter; steps
    of APGD and FAB; n_queries of Square; budget. Call it inside a
    :class:`~torchattacks_ext.engines.fork.ForkedRng`: each component seeds the global generator.

    Cost of a row that withstands: of forward row-passes `steps` + 2 for apgd-ce and apgd-dlr,
    T (`steps` + 2) + 1 for apgd-t, T (2 `steps` + 3) + 1 for fab-t, `n_queries` + 3 for square,
    with T = min(9, K - 1), and one more for each to be judged.

    >>> import torch
    >>> from torchattacks_ext.engines.judge.active import Judge
    >>> from torchattacks_ext.engines.fork import ForkedRng
    >>> from torchattacks_ext.models.meter import Meter
    >>> from torchattacks_ext.testing import small_net
    >>> net, images = small_net().eval(), torch.full((2, 1, 8, 8), 0.5)
    >>> ledger = Ledger.open(Judge(net, False, 2), images, net(images).argmax(1), 0.5, "Linf")
    >>> with ForkedRng(0):
    ...     ZooSequence("target", net, 3, 0, 2, Meter(), steps=5).run(("apgd-ce",), ledger)
    ()
    >>> ledger.sources, ledger.best.shape
    (['target/apgd-ce'], torch.Size([2, 1, 8, 8]))
    """

    def run(self, attacks: Sequence[str], ledger: Ledger) -> tuple[str, ...]:
        """Run the attacks in order; returns the reasons for what was left out.

        attacks: of "apgd-ce", "apgd-dlr", "apgd-t", "fab-t", "square". Raises ConfigError in L1,
        InputError where each row has a radius of its own.
        """
        zoo.check_norm(ledger.norm)
        return super().run(attacks, ledger)

    def _unfit(self, attack: str, ledger: Ledger) -> str:
        if attack == "square":
            return zoo.square_misfit(ledger.images, ledger.norm)
        return super()._unfit(attack, ledger)

    def _affords(self, attack: str, n_rows: int) -> bool:
        """Whether the budget has room for one component on one batch, and its judgement."""
        if self.budget is None:
            return True
        steps, targets = self.steps, aa.n_targets(zoo.TARGETS, self.n_classes)
        each = {
            "apgd-t": targets * (steps + 2) + 1,
            "fab-t": targets * (2 * steps + 3) + 1,
            "square": self.n_queries + 3,
        }.get(attack, steps + 2)
        return self.budget.fits(n_rows * (each + 2))  # a close row is decided twice

    def _perturb(
        self, attack: str, images: Tensor, labels: Tensor, ledger: Ledger
    ) -> Tensor:
        """One component on one batch, with the settings of version "standard"."""
        eps, norm = ledger.unit.radius(float(ledger.eps)), ledger.norm
        build = zoo.Components(
            OnUnit(self._graded, ledger.unit),
            images,
            eps,
            norm,
            self.n_classes,
            self.seed,
        )
        if attack == "apgd-t":
            part = build.apgd_targeted(self.steps)
        elif attack.startswith("apgd"):
            part = build.apgd(self.steps, attack.removeprefix("apgd-"))
        elif attack == "fab-t":
            part = build.fab(self.steps)
        else:
            part = build.square(self.n_queries)
        given = images.contiguous().clone()
        if not attack.startswith("apgd"):
            found: Tensor = part.perturb(given, labels.clone())
            return found.detach()
        _, found = part.perturb(zoo.as_pictures(given), labels.clone())
        return found.detach().reshape(images.shape)
