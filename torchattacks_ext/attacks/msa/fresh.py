"""What is left of a target that answers at random? Searched by single draws, told by fresh ones.

Search and report never share a draw: candidates are found by single draws, chosen by further ones
(:mod:`torchattacks_ext.engines.judge.screen`), and what the result says comes from `fresh_draws`
draws after that. The same number of draws on the clean images, twice, is the control: how often
would the rule call an image broken that nobody touched?
"""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from ...engines.autoattack.runs import TARGET
from ...engines.judge.active import Array
from ...engines.judge.screen import CHOICE, POOL, ScreenLedger, votes
from .draws import Fresh
from .run import attack, borrowed, judge_of, n_classes_of
from .scene import Scene
from .settings import MSASettings
from .told import Told


def attack_at_random(
    scene: Scene, images: Tensor, labels: Tensor, ids: Tensor
) -> tuple[ScreenLedger, Fresh, Told]:
    """The plan by screening, then fresh draws. Runs inside a session of the target.

    The ledger afterwards says what the votes say: `right`, `alive`, and `breaker` -1 for rows whose
    candidate the votes clear. Cost beside the plan's: 4 x fresh_draws forward row-passes an image.
    """
    settings = scene.settings
    with borrowed(scene, images, labels) as models:
        judge = judge_of(settings, models, len(images))
        ball = float(settings.eps), settings.norm, settings.bounds
        ledger = ScreenLedger.open(judge, images, labels, *ball)
        k, target = n_classes_of(models, images), models[TARGET]
        wanted = labels.cpu().numpy()
        clean = _ask(settings, target, images, k)
        right = clean.argmax(1) == wanted
        ledger.start_from(right)
        reserve = reserve_of(settings.fresh_draws, len(images))
        left_out = attack(scene, models, ledger, ids, reserve)
        ledger.settle()
        control = _ask(settings, target, images, k)
        found = _ask(settings, target, ledger.best, k)
    rows = np.arange(len(wanted))
    broken = right & (found.argmax(1) != wanted)
    ledger.breaker[~broken] = -1
    ledger.breaker[broken] = ledger.lead[broken]
    ledger.prediction = found.argmax(1)
    fresh = Fresh(
        settings.fresh_draws,
        clean=clean[rows, wanted],
        control=control[rows, wanted],
        found=found[rows, wanted],
        right=right,
        doubted=right & (control.argmax(1) != wanted),
        broken=broken,
    )
    return ledger, fresh, Told(ledger.entries, ledger.n_odd, left_out, fresh=fresh)


def reserve_of(fresh_draws: int, n: int) -> int:
    """Row-passes after the last run on n images: a pool to settle, and the votes that report.

    >>> reserve_of(10, 2)
    240
    """
    return n * (POOL * CHOICE + 2 * fresh_draws)


def _ask(settings: MSASettings, target: nn.Module, images: Tensor, k: int) -> Array:
    return votes(target, images, settings.fresh_draws, k, settings.batch_size)
