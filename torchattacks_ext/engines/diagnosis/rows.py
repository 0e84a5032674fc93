"""What does a whole diagnosis write down of one batch? Phase by phase, cheapest first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...models.meter import Meter
from ..autoattack.upstream import square_misfit
from ..judge.ledger import AttackSpec
from .before import Columns, before, one_step
from .paths import LAST, Path, Runner, Traced, broken_by
from .settings import FACTORS, FREE, DiagnosisSettings

LOSSES = ("ce", "margin")


@dataclass(frozen=True, eq=False)
class Patient:
    """What is looked at: pixels to logits on the victim's random stream, and what is known of it.

    fixed: whether it answers each image by itself and always the same. short: whether it computes
    in half precision, which is a grid of its own. surrogates: name -> pixels to logits.
    """

    view: nn.Module
    n_classes: int
    fixed: bool
    meter: Meter
    surrogates: Mapping[str, nn.Module]
    short: bool = False


def diagnose_rows(
    settings: DiagnosisSettings,
    patient: Patient,
    images: Tensor,
    labels: Tensor,
    ids: Tensor,
) -> Columns:
    """Columns (M,) of rows that are right; of a patient that is not fixed only the first phase.

    Runs inside sessions of all models and a fork. Row-passes an image, at most: 2 (gradients) + 12
    forward, then 3 steps of both losses forward and backward, 8 sweep_steps at larger radii, and
    where those left the row draws + queries forward; 2 steps a surrogate.
    """
    if not len(labels):
        return {}
    parts = torch.split(torch.arange(len(labels)), settings.batch_size)
    found = [_part(settings, patient, images, labels, ids, rows) for rows in parts]
    return {name: torch.cat([one[name] for one in found]) for name in found[0]}


def _part(
    settings: DiagnosisSettings,
    patient: Patient,
    images: Tensor,
    labels: Tensor,
    ids: Tensor,
    rows: Tensor,
) -> Columns:
    shown = images[rows].contiguous(), labels[rows], ids[rows]
    columns, clean = before(
        settings, patient.view, *shown, patient.fixed, patient.short
    )
    if patient.fixed:
        k, meter = patient.n_classes, patient.meter
        runner = Runner(settings, patient.view, *shown, k, meter)
        gradients = {"ce": clean.ce, "margin": clean.margin}
        step = broken_by(runner, one_step(settings, shown[0], gradients))
        columns["one_step"] = step.to(torch.int8)
        columns |= _gradient_runs(runner)
        columns |= _black_box(runner, columns)
        columns |= _sweep(runner)
        columns |= _transfer(runner, patient.surrogates)
    return {name: values.cpu() for name, values in columns.items()}


def _gradient_runs(runner: Runner) -> Columns:
    """Both losses, with all the steps and with half of them; what the full paths show."""
    steps, every = runner.settings.steps, runner.every
    found: Columns = {}
    late = torch.full(every.shape, torch.nan, dtype=torch.float64)
    silent = torch.zeros_like(every)
    for loss in LOSSES:
        for name, n in ((f"{loss}_half", steps // 2), (f"{loss}_full", steps)):
            spec = AttackSpec("apgd", loss=loss, steps=n)  # type: ignore[arg-type]
            broken, path, going = runner.run((spec,), every)
            found[name] = broken.to(torch.int8)
        left = torch.nonzero(~broken[going]).flatten()
        moved = path.late_move(loss)[left.cpu()] if len(path.ce) > LAST else None
        if moved is not None:
            place = going[left].cpu()
            late[place] = torch.fmax(late[place], moved)
        if len(path.ce):
            silent[going] |= path.silent(loss).to(silent)
    return found | {"late_move": late, "silent": silent.to(torch.int8)}


def _black_box(runner: Runner, columns: Columns) -> Columns:
    """Random search, then Square, on rows that no gradient run broke; -1 for the others."""
    settings = runner.settings
    beaten = (columns["ce_full"] | columns["margin_full"]).to(torch.bool)
    rows = runner.every[~beaten.to(runner.every.device)]
    found = {
        name: torch.full(beaten.shape, -1, dtype=torch.int8)
        for name in ("random_search", "black_box")
    }
    if not len(rows):
        return found
    drawn, _, _ = runner.run((AttackSpec("noise", steps=settings.draws),), rows)
    found["random_search"][rows.cpu()] = drawn.to(torch.int8).cpu()
    found["black_box"] = found["random_search"].clone()
    rows = rows[~drawn]
    if len(rows) and not square_misfit(runner.images, settings.norm):
        both, _, _ = runner.run((AttackSpec("square", steps=settings.queries),), rows)
        found["black_box"][rows.cpu()] = both.to(torch.int8).cpu()
    return found


def _sweep(runner: Runner) -> Columns:
    """Short runs of both losses at larger radii, and at the one at which all can be grey."""
    settings = runner.settings
    n = runner.images[0].numel()
    free = (
        FREE
        * settings.unit.width
        * {"Linf": 1.0, "L2": n**0.5, "L1": float(n)}[settings.norm]
    )
    radii = {f"broken_x{k}": k * settings.eps for k in FACTORS} | {"broken_free": free}
    specs = tuple(
        AttackSpec("apgd", loss=loss, steps=settings.sweep_steps)  # type: ignore[arg-type]
        for loss in LOSSES
    )
    return {
        name: runner.run(specs, runner.every, eps)[0].to(torch.int8)
        for name, eps in radii.items()
    }


def _transfer(runner: Runner, surrogates: Mapping[str, nn.Module]) -> Columns:
    """The margin of each surrogate climbed, its candidates asked on the target."""
    n, every = len(runner.labels), runner.every
    if not surrogates:
        return {}
    spec = AttackSpec("apgd", loss="margin", steps=runner.settings.steps)
    broken, fooled, agrees = (torch.zeros(n, dtype=torch.int8) for _ in range(3))
    together = []
    for name, model in surrogates.items():
        with torch.no_grad():
            said = model(runner.images).argmax(1)
        agrees |= (said == runner.labels).to(agrees)
        traced = Traced(model, runner.view)
        mine, path, going = runner.run((spec,), every, other=(name, traced))
        broken |= mine.to(broken)
        fooled[going.cpu()] |= _ever_wrong(path).to(fooled)
        column = torch.full((n,), torch.nan, dtype=torch.float64)
        if len(path.peer):
            column[going.cpu()] = path.consistency("margin").cpu()
        together.append(column)
    found = {"transfer": broken, "surrogate_fooled": fooled, "surrogate_right": agrees}
    return found | {"consistency": torch.stack(together).nanmedian(0).values}


def _ever_wrong(path: Path) -> Tensor:
    return (path.margin < 0).any(0).cpu()
