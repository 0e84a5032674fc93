"""How is an HPM head trained? Against the attack that it will meet, and resumable at any step.

arXiv:2606.01746, suppl. 6.2: trunk frozen, head trained on images that ascent on the same loss has
found, Adam, C_glob as a running average of the batches' class means.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ....errors import StateError
from ....models.fingerprint import model_sha256
from ....models.logits import full_dtype
from ....models.modes import give_back_modes, modes_of
from ....numerics.arguments import parse_whole
from ....numerics.norms import project
from ....numerics.streams import uniform
from ..model import HPMModel, check_hpm
from ..storing import read_tensors, write_tensors
from . import losses
from .supply import Supply, make_supply
from .tuning import Tuning, tuning_of


@dataclass(frozen=True)
class Tuned:
    """What a call of :func:`finetune_hpm` did: steps (all so far), of how many, and each loss."""

    steps: int
    of: int
    losses: tuple[float, ...]

    @property
    def done(self) -> bool:
        """Whether all epochs are through."""
        return self.steps == self.of


@torch.inference_mode(False)
def finetune_hpm(
    model: HPMModel,
    data: Any,
    eps: float = 8 / 255,
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    every: int = 100,
    max_steps: int | None = None,
    progress: bool = False,
    **options: Any,
) -> Tuned:
    """Train the head of `model` in place.

    data: images (N, ...) in [0, 1] with labels (N,), as a tuple of both, a Dataset, a DataLoader or
    an iterable of batches; see :func:`.supply.make_supply` for what is streamed.
    checkpoint: a file that is written each `every` steps and at the end, and gone on from where it
    is there: a run that was stopped at any time and one that was not end in the same weights.
    max_steps: stop after so many steps of this call. options: other fields of
    :class:`.tuning.Tuning`.
    A head without C_glob gets that of the clean images first. Modes, requires_grad and grads are
    given back. Cost: (steps + 2) forward and steps + 1 backward row-passes an image and epoch.

    Raises ConfigError for settings outside their domains, InputError for data that are none,
    StateError for a checkpoint of other settings, another model or other data, ModelContractError
    for a model that is no HPMModel, or in half precision.

    >>> from torch import nn
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    >>> data = torch.rand(12, 1, 2, 2), torch.arange(12) % 3
    >>> hpm = HPMModel.from_classifier(net)
    >>> finetune_hpm(hpm, data, 0.1, steps=2, batch_size=6).done
    True
    """
    check_hpm(model)
    dtype, tuning = full_dtype(model), tuning_of({"eps": eps, **options})
    most = None if max_steps is None else parse_whole(max_steps, "max_steps", 1)
    every = parse_whole(every, "every", 1)
    supply = make_supply(data, model.head.n_classes)
    with _training(model, tuning), torch.enable_grad():
        run = _Run(model, supply, tuning, dtype)
        run.begin(checkpoint)
        last = run.total if most is None else min(run.total, run.t + most)
        with _bar(last - run.t, progress) as shown:
            for rows, images, labels in run.batches(last):
                run.step(rows, images, labels)
                shown.update()
                if checkpoint is not None and (run.t % every == 0 or run.t == last):
                    run.save(checkpoint)
    return Tuned(run.t, run.total, tuple(run.seen))


class _Run:
    """One training: its state is (weights, Adam's moments, table of IKL, number of the step)."""

    def __init__(
        self, model: HPMModel, supply: Supply, tuning: Tuning, dtype: torch.dtype
    ) -> None:
        self.model, self.supply = model, supply
        self.tuning, self.t, self.seen = tuning, 0, list[float]()
        self.dtype = dtype
        self.per_epoch = -(-supply.n // tuning.batch_size)
        self.total = tuning.epochs * self.per_epoch
        self.weights = [p for p in model.parameters() if p.requires_grad]
        self.adam = (
            torch.optim.Adam(self.weights, tuning.rate) if self.weights else None
        )
        k, place = model.head.n_classes, model.head.of_all.device
        self.table = torch.full((k, k), 1 / k, device=place)

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What a checkpoint is of; none is written without."""
        settings = asdict(self.tuning) | {"train": sorted(self.tuning.train)}
        frozen = (
            None if "trunk" in self.tuning.train else model_sha256(self.model.trunk)
        )
        return self.model.facts() | {
            "kind": "hpm-tuning",
            "tuning": settings,
            "data": self.supply.facts(),
            "trunk": frozen,
        }

    def begin(self, checkpoint: str | os.PathLike[str] | None) -> None:
        if checkpoint is not None and Path(checkpoint).exists():
            self._load(checkpoint)
        elif not self.model.head.ready:
            in_order = torch.split(torch.arange(self.supply.n), self.tuning.batch_size)
            self.model.fit_prototypes(self.supply.pairs(in_order))

    def batches(self, last: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """(positions, images, labels) of each step from this one to `last`."""
        while self.t < last:
            epoch, place = divmod(self.t, self.per_epoch)
            end = min(self.per_epoch, place + last - self.t)
            orders = self._orders(epoch)[place:end]
            for rows, (images, labels) in zip(orders, self.supply.pairs(orders)):
                yield rows, images, labels

    def _orders(self, epoch: int) -> list[Tensor]:
        """Positions of the images of each step of an epoch, which has an order of its own."""
        everyone = torch.arange(self.supply.n)
        u = uniform(self.tuning.seed, everyone, "hpm/order", epoch, 1)[:, 0]
        order = torch.argsort(u, stable=True)
        return list(torch.split(order, self.tuning.batch_size))

    def step(self, rows: Tensor, images: Tensor, labels: Tensor) -> None:
        place = self.model.head.of_all.device
        images, labels = images.to(place, self.dtype), labels.to(place)
        shown = self._attacked(images, labels, rows)
        features = self.model.trunk(shown)
        attacked = self.model.head(features)
        clean = self.model(images) if self.tuning.loss == "ikl" else attacked
        loss = self._loss(clean, attacked, labels).mean()
        if self.tuning.loss == "ikl":
            loss = loss + cross_entropy(clean, labels)
            self.table = losses.class_means(self.table, clean, labels)
        if self.adam is not None:
            found = torch.autograd.grad(loss, self.weights, allow_unused=True)
            for weight, gradient in zip(self.weights, found):
                weight.grad = gradient
            self.adam.step()
            self.adam.zero_grad()
        self.model.head.update(features.detach(), labels)
        self.seen.append(float(loss.detach()))
        self.t += 1

    def _loss(self, clean: Tensor, attacked: Tensor, labels: Tensor) -> Tensor:
        if self.tuning.loss == "ce":
            return cross_entropy(attacked, labels, reduction="none")
        return losses.improved_kl(clean, attacked, self.table[labels])

    def _attacked(self, images: Tensor, labels: Tensor, rows: Tensor) -> Tensor:
        """Signed ascent in the ball, each row from its own random point."""
        eps = self.tuning.eps
        if not eps:
            return images
        epoch = self.t // self.per_epoch
        size = images[0].numel()
        u = uniform(self.tuning.seed, rows, "hpm/start", epoch, size).to(images)
        moved = images + eps * (2 * u.reshape(images.shape) - 1)
        with torch.no_grad():
            clean = self.model(images)
        for _ in range(self.tuning.steps):
            moved = project(images, moved, eps, "Linf").detach().requires_grad_()
            loss = self._loss(clean, self.model(moved), labels).sum()
            (gradient,) = torch.autograd.grad(loss, moved)
            moved = moved.detach() + eps / 4 * gradient.sign()
        return project(images, moved, eps, "Linf")

    # ------------------------------------------------------------------ checkpoints
    def save(self, path: str | os.PathLike[str]) -> None:
        whole = "trunk" in self.tuning.train
        state = self.model.state_dict()
        tensors = {
            f"model.{n}": w for n, w in state.items() if whole or n.startswith("head.")
        }
        tensors["table"] = self.table
        if self.adam is not None:
            for i, moments in self.adam.state_dict()["state"].items():
                tensors |= {f"adam.{i}.{name}": one for name, one in moments.items()}
        facts = {"steps": self.t, "losses": self.seen, "of": self.facts}
        write_tensors(path, tensors, facts)

    def _load(self, path: str | os.PathLike[str]) -> None:
        tensors, facts = read_tensors(path)
        theirs, ours = _plain(facts.get("of", {})), _plain(self.facts)
        other = [name for name in ours if theirs.get(name) != ours[name]]
        if other:
            raise StateError(
                f"checkpoint {str(path)!r} is of another run ({', '.join(other)} differ); give "
                "another place, or the settings, model and data that it was begun with"
            )
        own = _part(tensors, "model.")
        self.model.load_state_dict(own, strict=False)
        self.table = tensors["table"].to(self.table)
        self.t, self.seen = facts["steps"], list(facts["losses"])
        if self.adam is not None:
            state: dict[int, dict[str, Tensor]] = {}
            for name, one in _part(tensors, "adam.").items():
                number, _, moment = name.partition(".")
                state.setdefault(int(number), {})[moment] = one
            groups = self.adam.state_dict()["param_groups"]
            self.adam.load_state_dict({"state": state, "param_groups": groups})


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n[len(prefix) :]: t for n, t in tensors.items() if n.startswith(prefix)}


def _plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    """As they come back from JSON."""
    found: dict[str, Any] = json.loads(json.dumps(dict(facts)))
    return found


@contextmanager
def _training(model: HPMModel, tuning: Tuning) -> Iterator[None]:
    """The parts that learn may; modes, requires_grad and grads are given back."""
    modes = modes_of(model)
    loans = [(p, p.requires_grad, p.grad) for p in model.parameters()]
    parts = {"mixer": model.head.mixer, "fc": model.head.fc, "trunk": model.trunk}
    try:
        model.requires_grad_(False)
        for name in tuning.train:
            parts[name].requires_grad_(True)
        model.trunk.train("trunk" in tuning.train)
        model.head.train()
        for p, _, _ in loans:
            p.grad = None
        yield
    finally:
        give_back_modes(modes)
        for p, needs, grad in loans:
            p.requires_grad_(needs)
            p.grad = grad


@contextmanager
def _bar(steps: int, progress: bool) -> Iterator[Any]:
    from tqdm.auto import tqdm

    off = None if progress else True
    with tqdm(total=steps, desc="HPM", unit="step", disable=off) as shown:
        yield shown
