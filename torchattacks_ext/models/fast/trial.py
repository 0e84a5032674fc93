"""Which forms of a copy are right, and which of them is the fastest? Tried on one batch."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch

from ...errors import ModelContractError
from ..session import session
from .agreement import Agreement, answer
from .copied import FastModel, Form
from .graph import Folds, read
from .processor import DTYPES, Precision, refusal_of_precision
from .scene import FEW, Scene, copied
from .timing import least

ROUNDS, MOST_SECONDS = 5, 10.0
"""Alternations of a timing, and when no further one begins."""
GAIN = 0.95
"""A shorter precision and a compiled graph must take less than this part of the time without."""
NO_ROOM = (torch.cuda.OutOfMemoryError, MemoryError)
ORIGINAL, PLAIN, LAID_OUT, COMPILED = "original", "fp32", "channels_last", "compiled"


class Trial:
    """The forms that are right, by name, and why others were left out.

    scene: the model and the images; reference: what it says itself.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.reference = scene.reference()
        self.form = Form(copies=self.reference.writes)
        self.right: dict[str, FastModel] = {}
        self.seen: dict[str, Agreement] = {}
        self.left_out: dict[str, str] = {}
        self.seconds: dict[str, float] = {}
        self.rounds = 0
        self.folds = Folds()

    def start(self) -> None:
        """The plain and the folded copy; ModelContractError where not even the first is right."""
        scene = self.scene
        self.folds = read(copied(scene.model), scene.images[:FEW].to(scene.dtype))
        if self.folds.norms or self.folds.pixels:
            why = self._offer(PLAIN, lambda: scene.built(self.folds, self.form))
            if why is None:
                return
            self.folds = Folds(unread=f"taken back, because with it {why}")
        why = self._offer(PLAIN, lambda: scene.built(self.folds, self.form))
        if why is not None:
            raise self._no_copy(why)

    def offer(self, name: str, make: Callable[[], FastModel]) -> None:
        """Take a form in where it is right, else say why it is left out."""
        why = self._offer(name, make)
        if why is not None:
            self.left_out[name] = why

    def _offer(self, name: str, make: Callable[[], FastModel]) -> str | None:
        try:
            fast = make()
            seen = self.scene.agreement(fast, self.reference.answer)
        except Exception as error:  # of a kernel, a compiler, code that misses a module
            if name == PLAIN and isinstance(error, NO_ROOM):
                raise
            words = " ".join(str(error).split())[:160]
            return f"it raised {type(error).__name__}: {words}"
        why = _wrong(seen, fast.form)
        if why is None:
            self.right[name], self.seen[name] = fast, seen
        return why

    def time(self, names: list[str]) -> None:
        """Seconds of the original and of forms, in turns, as the process is set up.

        ModelContractError where one of them raises, which all answered before.
        """
        try:
            self._time(names)
        except NO_ROOM:
            raise
        except Exception as error:
            words = " ".join(str(error).split())[:160]
            raise ModelContractError(
                f"the model answered at first and raised when it was asked again "
                f"({type(error).__name__}: {words}): what depends on the number of calls cannot be "
                "copied; mend its forward, or attack it as it is"
            ) from error

    def _time(self, names: list[str]) -> None:
        scene, sighted = self.scene, self.reference.answer.gradient is not None
        models = {ORIGINAL: scene.view(scene.model, self.form)}
        models |= {name: self.right[name] for name in names}
        with ExitStack() as stack:
            for model in (scene.model, *models.values()):
                stack.enter_context(session(model))
            calls = {
                name: lambda m=model: answer(m, scene.images, sighted)
                for name, model in models.items()
            }
            found, rounds = least(calls, ROUNDS, MOST_SECONDS, scene.images.device)
            # so that the model keeps no graph on itself
            answer(models[ORIGINAL], scene.images[:FEW], gradient=False)
        for name, seconds in found.items():
            self.seconds[name] = min(seconds, self.seconds.get(name, seconds))
        self.rounds += rounds

    def faster(self, name: str, than: str) -> str:
        """The form of `name` where it is right and clearly faster, else the other."""
        if name not in self.right:
            return than
        share = self.seconds[name] / self.seconds[than]
        if share < GAIN:
            return name
        self.left_out[name] = f"it takes {share:.2f} of the time without it"
        return than

    def _no_copy(self, why: str) -> ModelContractError:
        answers = self.reference.answer, self.scene.reference().answer
        same = torch.equal(*(one.logits.nan_to_num() for one in answers))
        if not same:
            return ModelContractError(
                "the model answers otherwise when it is asked again: whether a copy is right "
                "cannot be seen; attack it as it is"
            )
        return ModelContractError(
            f"a plain copy of the model does not answer as the model does: {why}. It computes with "
            "what lies outside of its modules: attack it as it is"
        )


def _wrong(seen: Agreement, form: Form) -> str | None:
    """Why a form is not right; None where it is."""
    if seen.changed:
        return f"{seen.changed} decisions differ on the given images"
    if form.autocast is None and not seen.rounding:
        return (
            f"a logit differs by {seen.difference:.2g}, of at most {seen.largest:.2g}: more than "
            "rounding"
        )
    if seen.difference == float("inf"):
        return "logits are no longer finite"
    if seen.dead:
        return f"{seen.dead} images lose their whole gradient"
    return None


def tried(scene: Scene, precision: Precision, compile: bool) -> FastModel:
    """The fastest copy that is right, with its facts; see :func:`.accelerate.accelerate`."""
    trial = Trial(scene)
    trial.start()
    chosen = _layouts(trial, precision)
    if compile:
        chosen = _compiled(trial, chosen)
    fast = trial.right[chosen]
    asked = {"asked": {"precision": precision, "compile": compile}}
    return scene.view(fast.net, fast.form, _facts(trial, chosen) | asked)


def _layouts(trial: Trial, precision: Precision) -> str:
    """Name of the fastest memory layout and precision."""
    scene, form = trial.scene, trial.form
    if scene.images.dim() == 4:
        form = replace(form, layout="channels_last")
        trial.offer(LAID_OUT, lambda: scene.built(trial.folds, form))
    if precision != "fp32":
        why = refusal_of_precision(precision, scene.images.device)
        if scene.dtype != torch.float32:
            why = f"the weights are {scene.dtype}, which autocast is not for"
        if why is None:
            short = replace(form, autocast=DTYPES[precision])
            trial.offer(precision, lambda: scene.built(trial.folds, short))
        else:
            trial.left_out[precision] = why
    trial.time(list(trial.right))
    times = trial.seconds
    chosen = PLAIN
    if LAID_OUT in trial.right and times[LAID_OUT] < times[PLAIN]:
        chosen = LAID_OUT
    return trial.faster(precision, chosen) if precision != PLAIN else chosen


def _compiled(trial: Trial, chosen: str) -> str:
    """The name of the compiled form of a copy where that is faster."""
    fast, graphs = trial.right[chosen], trial.scene.images.device.type == "cuda"
    mode = "reduce-overhead" if graphs else "default"
    form = replace(fast.form, fixed_memory=graphs)

    def made() -> FastModel:
        return trial.scene.view(torch.compile(fast.net, mode=mode), form)

    trial.offer(COMPILED, made)
    if COMPILED in trial.right:
        trial.time([chosen, COMPILED])
    return trial.faster(COMPILED, chosen)


def _facts(trial: Trial, chosen: str) -> dict[str, Any]:
    fast, seen, folds = trial.right[chosen], trial.seen[chosen], trial.folds
    scene, times = trial.scene, trial.seconds
    names = {dtype: name for name, dtype in DTYPES.items()}
    dtype = scene.dtype if fast.form.autocast is None else fast.form.autocast
    what = (
        "forward" if trial.reference.answer.gradient is None else "forward and gradient"
    )
    return {
        "folded": len(folds.norms),
        "pixels_folded": folds.pixels is not None,
        "kept": dict(folds.kept),
        "not_folded": folds.unread,
        "layout": fast.form.layout,
        "precision": "fp64" if dtype == torch.float64 else names.get(dtype, str(dtype)),
        "compiled": chosen == COMPILED,
        "left_out": dict(trial.left_out),
        "max_logit_difference": seen.difference,
        "largest_logit": seen.largest,
        "changed_decisions": seen.changed,
        "equal_gradient_signs": seen.signs,
        "rows": len(scene.images),
        "seconds": {
            "original": times[ORIGINAL],
            "copy": times[chosen],
            "tried": {name: times[name] for name in times if name != ORIGINAL},
        },
        "speed_up": times[ORIGINAL] / times[chosen],
        "timing": {
            "what": what,
            "no_gradient": trial.reference.blind,
            "rows": len(scene.images),
            "least_of": trial.rounds,
            "device": str(scene.images.device),
            "threads": torch.get_num_threads(),
        },
    }
