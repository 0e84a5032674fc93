"""How do many rows share one batch until each is broken or through? They come and go.

A slot is one run on one row: a start, perhaps a target. A batch holds as many slots as it may, each
at a step of its own; a slot is given up when the *target* breaks its row, or when it is through,
and its place goes to the next row in the queue. Slots of one row (its targets) come together and
walk in step, so that what is found of a row does not depend on who shares its batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ...numerics.losses import is_scored, margins
from ...numerics.norms import per_row
from ..judge.active import Array
from ..judge.ledger import Ledger
from .ball import Ball

State = dict[str, Tensor]
"""Of n slots, each entry (n, ...). Of all stages: "row" in the ledger, "id", "label", "target"
(-1 for none), "image" on [0, 1], "radius", "x" (where the stage stands), "low" (smallest margin
seen on the target) and "near" (where), "hit" (whether the target was wrong there, as far as the
model's own answer says) and "since" (steps since), "fooled" (of the model that is attacked), "odd"
(a gradient was zero or no number), "ahead" (after the first step: "x" may well break the row)."""
FREE = 0.1
"""Share of a batch that may wait in vain before it is packed anew."""
LATE = 5
"""Steps between two looks at a device that is not the host."""


class Stage(Protocol):
    """One attack, as steps on slots. It draws for a slot from the stream of its id alone.

    age (n,): steps that a slot has made; a stage may set it to the end.
    """

    steps: int

    def begin(self, state: State) -> None:
        """Add what the stage remembers of new slots."""

    def advance(self, state: State, age: Array) -> tuple[Tensor, Tensor]:
        """One step: (points (n, ...), the target's logits there (n, K))."""

    def last(self, state: State) -> Tensor | None:
        """Points at which slots that are through stand and the target was not asked, or None."""


@dataclass(eq=False)
class Pursuit:
    """Runs of one stage on rows of a ledger.

    size: slots of a batch. source: whose account it is. odd (B,) bool: rows of the ledger, one of
    whose slots met an odd gradient, or never moved. fooled: slots that the attacked model got
    wrong. pulse: told after each step which share of the work is done; says whether to end. ended:
    whether it did.
    """

    ledger: Ledger
    ids: Tensor
    source: str
    size: int
    pulse: Callable[[float], bool] | None = None

    def __post_init__(self) -> None:
        device = self.ledger.images.device
        self.every = 1 if device.type == "cpu" else LATE
        self.odd = torch.zeros(len(self.ids), dtype=torch.int64, device=device)
        self.fooled = self.begun = self.planned = 0
        self.ended = False

    def run(self, stage: Stage, rows: Tensor, targets: Tensor | None = None) -> None:
        """The stage on rows (m,) of the ledger, each at its targets (m, g) or at none."""
        queue, place = rows.cpu().numpy(), 0
        group = 1 if targets is None else targets.shape[1]
        most = max(1, self.size // group) * group
        state: State | None = None
        age, ticks = np.zeros(0, dtype=np.int64), 0
        self.begun, self.planned = 0, len(queue) * group
        while not self.ended:
            alive = self.ledger.alive.cpu().numpy()
            chosen: list[int] = []
            while place < len(queue) and len(age) + (len(chosen) + 1) * group <= most:
                if alive[queue[place]]:
                    chosen.append(place)
                place += 1
            self.begun = place * group
            if chosen:
                part = torch.tensor(chosen, device=rows.device)
                new = self._slots(
                    rows[part], None if targets is None else targets[part]
                )
                stage.begin(new)
                state = new if state is None else _joined(state, new)
                age = np.concatenate([age, np.zeros(len(chosen) * group, np.int64)])
            if state is None or not len(age):
                return
            state, age, ticks = self._until_packed(stage, state, age, ticks)

    def _slots(self, rows: Tensor, targets: Tensor | None) -> State:
        """New slots on rows (m,), g for each, those of a row beside each other."""
        ledger, none = self.ledger, torch.full_like(rows, -1)[:, None]
        aims = none if targets is None else targets
        slots = rows.repeat_interleave(aims.shape[1])
        images, labels = ledger.part(slots)
        unit = ledger.unit
        image, radius = unit.of(images), unit.radius(ledger.radius(slots))
        n, false = len(slots), torch.zeros_like(slots, dtype=torch.bool)
        return {
            "row": slots,
            "id": self.ids[slots],
            "label": labels,
            "target": aims.flatten(),
            "image": image,
            "radius": torch.as_tensor(
                radius, dtype=torch.float64, device=image.device
            ).expand(n),
            "x": image.clone(),
            "low": torch.full(
                (n,), torch.inf, dtype=torch.float64, device=image.device
            ),
            "near": image.clone(),
            "hit": false,
            "since": torch.zeros_like(slots),
            "fooled": false.clone(),
            "odd": false.clone(),
            "ahead": false.clone(),
        }

    def _until_packed(
        self, stage: Stage, state: State, age: Array, ticks: int
    ) -> tuple[State, Array, int]:
        """Steps until slots end, or enough are in vain; the slots that go on."""
        while True:
            points, seen = stage.advance(state, age)
            self._note(state, points, seen)
            if (age == 0).any():
                self._look_ahead(state)
            age, ticks = age + 1, ticks + 1
            if self._ends(stage, age):
                self._offer_hits(state)
                self._offer_nearest(state)
                return state, age, ticks
            through = age >= stage.steps
            if not (through.any() or ticks % self.every == 0):
                continue
            self._offer_hits(state)
            alive = self.ledger.alive[state["row"]].cpu().numpy()
            if through.any() or (~alive).mean() >= FREE:
                ending, going = (
                    torch.from_numpy(np.flatnonzero(one)).to(state["row"].device)
                    for one in (through & alive, ~through & alive)
                )
                self._account(state)
                self._retire(stage, _chosen(state, ending))
                # what ended may have been broken by its last point, in another slot
                left = self.ledger.alive[state["row"][going]]
                state, age = (
                    _chosen(state, going[left]),
                    age[(going[left]).cpu().numpy()],
                )
                return state, age, ticks

    def _ends(self, stage: Stage, age: Array) -> bool:
        if self.pulse is None:
            return False
        done = (self.begun - len(age)) * stage.steps + int(age.sum())
        self.ended = self.pulse(done / (self.planned * stage.steps))
        return self.ended

    def _note(self, state: State, points: Tensor, seen: Tensor) -> None:
        """Keep of each slot the point of smallest margin, and of a hit the first."""
        margin = margins(seen, state["label"]).double()
        wrong = (seen.argmax(1) != state["label"]) | ~is_scored(seen, state["label"])
        news = ~state["hit"] & ((margin < state["low"]) | wrong)
        state["near"] = torch.where(per_row(news, points), points, state["near"])
        state["low"] = torch.where(news, margin, state["low"])
        state["since"] = state["since"] + state["hit"]
        state["hit"] = state["hit"] | wrong

    def _look_ahead(self, state: State) -> None:
        """Offer where slots stand now that may well be through there; one slot of each row."""
        where = state["ahead"].nonzero().flatten()
        if not len(where):
            return
        rows = state["row"][where]
        self._offer(rows, state["x"][where])
        state["fooled"][where] |= ~self.ledger.alive[rows]
        state["ahead"] = torch.zeros_like(state["ahead"])

    def _offer_hits(self, state: State) -> None:
        """Offer each row's first hit; slots whose hit the judge does not believe go on."""
        alive = self.ledger.alive[state["row"]]
        where = (state["hit"] & alive).nonzero().flatten()
        if not len(where):
            return
        at = where.cpu().numpy()
        rows, since = (state[k][where].cpu().numpy() for k in ("row", "since"))
        order = np.lexsort((at, -since, rows))
        _, first = np.unique(rows[order], return_index=True)
        best = torch.from_numpy(at[np.sort(order[first])]).to(where.device)
        self._offer(state["row"][best], state["near"][best])
        gone_on = state["hit"] & self.ledger.alive[state["row"]]
        state["hit"] = state["hit"] & ~gone_on
        state["since"] = torch.where(gone_on, 0, state["since"])
        state["low"] = torch.where(gone_on, torch.inf, state["low"])

    def _offer(self, rows: Tensor, points: Tensor) -> None:
        self.ledger.offer(rows, self.ledger.unit.back(points), self.source)

    def _retire(self, stage: Stage, state: State) -> None:
        """Offer where slots that are through stand, and what came nearest on their way."""
        if not len(state["row"]):
            return
        last = stage.last(state)
        if last is not None:
            still = (last == state["image"]).flatten(1).all(1)
            self.odd.index_add_(0, state["row"], still.long())
            for rows, which in _apart(state["row"]):
                self._offer(rows, last[which])
        self._offer_nearest(state)

    def _offer_nearest(self, state: State) -> None:
        """Offer what came nearest on the way of each slot, where that is news."""
        known = torch.from_numpy(self.ledger.margin).to(state["low"].device)
        for rows, which in _apart(state["row"]):
            nearer = self.ledger.alive[rows] & (state["low"][which] < known[rows])
            if bool(nearer.any()):
                self._offer(rows[nearer], state["near"][which[nearer]])
                known = torch.from_numpy(self.ledger.margin).to(known.device)

    def _account(self, state: State) -> None:
        self.odd.index_add_(0, state["row"], state["odd"].long())
        state["odd"] = torch.zeros_like(state["odd"])
        self.fooled += int(state["fooled"].sum())
        state["fooled"] = torch.zeros_like(state["fooled"])


def ball_of(state: State, norm: str) -> Ball:
    """The balls of the slots."""
    return Ball(state["image"], state["radius"], norm)  # type: ignore[arg-type]


def _joined(one: State, two: State) -> State:
    return {key: torch.cat([one[key], two[key]]) for key in one}


def _chosen(state: State, places: Tensor) -> State:
    return {key: value[places] for key, value in state.items()}


def _apart(rows: Tensor) -> list[tuple[Tensor, Tensor]]:
    """(rows, places) in which each row comes once; slots of a row lie beside each other."""
    numbers = rows.cpu().numpy()
    first = np.r_[True, numbers[1:] != numbers[:-1]]
    rank = np.arange(len(numbers)) - np.maximum.accumulate(
        np.where(first, np.arange(len(numbers)), 0)
    )
    found = []
    for one in range(int(rank.max()) + 1):
        places = torch.from_numpy(np.flatnonzero(rank == one)).to(rows.device)
        found.append((rows[places], places))
    return found
