"""What is left of a target whose answer depends on the batch? Three numbers, always together.

For one deployed batch: ISO, each image attacked beside clean companions; UNION, the image was wrong
in some batch of adversarial images; REALISED, the images wrong at once in one batch. And
bystanders: clean images beside attackers. The batches are a seeded partition of the data, and all
of it is repeated for several partitions, because another partition is another deployment.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ...engines.autoattack.runs import TARGET
from ...engines.joint import ascent as focus
from ...engines.joint import realised as realise
from ...engines.joint.ascent import SHARES, STEPS
from ...engines.joint.ledgers import POOL, IsolatedLedger, JointLedger
from ...engines.joint.runs import JointEngine
from ...engines.judge.active import Array
from ...engines.judge.ledger import AttackSpec, Entry
from ...numerics.streams import uniform
from ...results.unfixed import PROTOCOLS
from .protocols import Tally
from .run import Models, borrowed, drive, judge_of, n_classes_of
from .scene import Scene
from .told import Told
from .victims.company import N_CHECKED, alone_view, has_shortcut
from .victims.shared import shared_peeks

ISO_PLAN = (
    AttackSpec("apgd", on=TARGET, loss="ce", steps=10),
    AttackSpec("apgd", on=TARGET, loss="margin", steps=20),
)
"""Attacks on one image beside clean companions, after what the whole batch has suggested."""
WARM = AttackSpec("warm", on=TARGET, loss="margin", steps=20)
"""Attack of the whole batch from the realised one, between two repairs."""
BYSTANDERS = 0.5
"""Share of a batch that stays clean beside attackers."""


@dataclass(frozen=True, eq=False)
class Deployed:
    """One batch after its attack; rows are right (True) or not under each protocol, (m,) bool.

    joint, alone: its ledgers. attackers (m,): who is perturbed in the bystanders' protocol, and
    rest_wrong how many of the others are wrong then.
    """

    joint: JointLedger
    alone: IsolatedLedger
    attackers: Array
    rest_wrong: int

    @property
    def clean(self) -> Array:
        """Right in the clean batch."""
        return self.joint.right

    def robust(self, protocol: str) -> Array:
        """Right under "iso", "union" or "realised", and on the clean batch."""
        wrong = {
            "iso": self.alone.union,
            "union": self.joint.union,
            "realised": self.joint.wrong,
        }[protocol]
        return np.asarray(~wrong.cpu().numpy()) & self.clean

    def answers(self, protocol: str) -> Array:
        """(m,) int64: 1 and 0 as `robust`; -1 where the budget left out what may break the row."""
        ledger = self.alone if protocol == "iso" else self.joint
        found = self.robust(protocol).astype(np.int64)
        return np.where((found == 1) & bool(self.joint.cut or ledger.cut), -1, found)

    @property
    def is_whole(self) -> bool:
        """Whether nothing that matters was left out for want of a budget."""
        return all(bool((self.answers(name) >= 0).all()) for name in PROTOCOLS)

    @property
    def entries(self) -> dict[str, Entry]:
        """The books of the joint attack, and of that on single images as "alone/..."."""
        return self.joint.entries | {
            alone_name(k): v for k, v in self.alone.entries.items()
        }

    def tally(self) -> Tally:
        """How many are right under each protocol."""
        rest = ~self.attackers
        realised = int((~self.joint.wrong).sum())
        found = [self.clean.sum(), self.robust("iso").sum(), self.robust("union").sum()]
        found += [realised, self.clean[rest].sum(), rest.sum() - self.rest_wrong]
        counts = np.array([float(x) for x in found])
        return Tally(counts, len(self.attackers), int(rest.sum()))


def alone_name(source: str) -> str:
    """The name of a source of the attack on single images.

    >>> alone_name("target/apgd-ce-10")
    'alone/apgd-ce-10'
    """
    return "alone/" + source.partition("/")[2]


JOINT_SOURCES = (
    focus.SOURCE,
    realise.SOURCE,
    f"{TARGET}/{WARM.label}",
    "alone/joint",
    *(f"alone/{line.label}" for line in ISO_PLAN),
)
"""What may break a row beside the lines of the plan."""


def partition(ids: Tensor, seed: int, number: int, size: int) -> list[Tensor]:
    """Positions of the deployed batches of partition `number`; the last one may be smaller.

    A function of the ids, the seed and the number: the order of the data does not matter.

    >>> [len(part) for part in partition(torch.arange(7), 0, 0, 3)]
    [3, 3, 1]
    """
    numbers = uniform(seed, ids, f"msa/partition/{number}", 0, 1)[:, 0]
    order = np.lexsort((ids.cpu().numpy(), numbers.cpu().numpy()))
    whole = torch.from_numpy(order)
    return [whole[start : start + size] for start in range(0, len(whole), size)]


def attack_jointly(
    scene: Scene, images: Tensor, labels: Tensor, ids: Tensor
) -> tuple[Deployed, Told]:
    """One deployed batch (m, ...) under all protocols. Runs inside a session of the target.

    Cost: that of the plan (FAB left out), m row-passes for each composed batch, and for ISO about
    ``m (POOL + 2 x 30)`` an image.
    """
    settings = scene.settings
    with borrowed(scene, images, labels) as models:
        judge = judge_of(settings, models, len(images))
        ball = float(settings.eps), settings.norm, settings.bounds
        joint = JointLedger.open(judge, images, labels, *ball)
        k = n_classes_of(models, images)
        left_out = _drive(scene, models, joint, ids, k, settings.lines)
        focus.focus(models[TARGET], joint)
        realise.realise(joint)
        left_out |= _drive(scene, models, joint, ids, k, (WARM,))
        realise.realise(joint)
        alone, why = _isolated(scene, models[TARGET], joint, ids, k)
        numbers = uniform(settings.seed, ids, "msa/bystanders", 0, 1)[:, 0]
        chosen = (numbers >= BYSTANDERS).to(images.device)
        wrong = focus.bystanders(models[TARGET], joint, chosen)
    left = Deployed(joint, alone, chosen.cpu().numpy(), wrong)
    if settings.engine != "autoattack":
        left_out |= {
            f'engine "{settings.engine}" cannot keep batches whole; AutoAttack\'s components ran'
        }
    return left, Told(left.entries, joint.n_odd, left_out | why, JOINT_SOURCES)


def reserve_of(m: int, quick: bool = False) -> int:
    """Forward row-passes, at most, of what no line of a plan counts, for a batch of m rows.

    Composing and repairing twice, aimed ascent at parts and at each row, the isolated rows,
    bystanders. quick: whether the target has a shortcut for isolated rows (``alone_in``): a query
    of all of them then costs m row-passes, m^2 only at a final judgement full of close calls.

    >>> reserve_of(8), reserve_of(8, quick=True)
    (10984, 6872)
    """
    repair = 2 * 3 * POOL * 2 * m * m + 4 * POOL * m
    aimed = (STEPS + 2) * (len(SHARES) + m) * m
    queries = sum(line.steps + 4 for line in ISO_PLAN) + POOL + 1
    alone = 2 * queries * m * m
    if quick:
        judged = 2 * len(ISO_PLAN) + POOL + 1
        alone = (2 * queries + N_CHECKED) * m + judged * m * m
    return repair + aimed + alone + (STEPS + 1) * m


def _drive(
    scene: Scene,
    models: Models,
    ledger: JointLedger,
    ids: Tensor,
    n_classes: int,
    lines: tuple[AttackSpec, ...],
    quick: bool | None = None,
) -> frozenset[str]:
    quick = has_shortcut(scene) if quick is None else quick
    engine = JointEngine(
        models,
        ids,
        n_classes,
        scene.settings.seed,
        scene.meter,
        scene.settings.probe_every,
        budget=scene.budget,
        reserve=reserve_of(len(ledger.images), quick),
        shown=shared_peeks(scene, models),
    )
    return drive(lines, engine, ledger)


def _isolated(
    scene: Scene, target: nn.Module, joint: JointLedger, ids: Tensor, n_classes: int
) -> tuple[IsolatedLedger, frozenset[str]]:
    """Every row beside clean companions: the pool of the joint attack, then gradients."""
    view, said = alone_view(scene, target, joint)
    m, quick = len(joint.images), view.quick is not None
    judge = judge_of(scene.settings, {TARGET: view}, m)
    args = joint.images, joint.labels, joint.eps, joint.norm, joint.bounds
    alone = IsolatedLedger.open(judge, *args)
    view.asked = ~alone.union
    everyone = torch.arange(m, device=joint.images.device)
    for candidate in joint.candidates():
        if bool(alone.alive.any()):
            alone.offer(everyone, candidate, f"{TARGET}/joint")
    left_out = _drive(scene, {TARGET: view}, alone, ids, n_classes, ISO_PLAN, quick)
    return alone, left_out | said
