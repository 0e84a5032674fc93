"""Which model, input and verb is case number n, how did it end, and what do many cases say?"""

from __future__ import annotations

import random
import re
import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from torchattacks_ext._typing import Status
from torchattacks_ext.errors import TorchattacksExtError

from . import answers, gradients, graphs, writing
from .inputs import Inputs, draw_inputs
from .kind import GRADIENTS, KINDS, SHAPES, Kind, Made
from .state import moved, snapshot, unsettle
from .verbs import BLIND, Answer, Ask, draw_ask, rows_of_a_batch, run

TOPICS = (writing, graphs, answers, gradients)
"""Where kinds are registered, when they are imported."""
NO_GRADIENT = "gradient|NumPy computes inside|inference_mode|use_reentrant"
CLOSE = 1e-4
RAISED = "no object found in the picture"
_FOREIGN = re.compile(r"^\w+(Error|Exception|Warning|Interrupt)\b")


@dataclass(frozen=True, eq=False)
class Case:
    """One draw: of a kind, a model and how it stands, inputs and a verb."""

    number: int
    kind: Kind
    made: Made
    inputs: Inputs
    ask: Ask
    state: int

    @property
    def words(self) -> str:
        """For a person."""
        return f"{self.number}: {self.kind.name}, {self.ask.words}, {self.inputs.words}"


@dataclass(frozen=True)
class Outcome:
    """How a case ended: "right", "refused" or "wrong". moved: what is not as before, which is
    wrong whatever the end. message: of a refusal, or what is wrong.
    """

    words: str
    kind: str
    ended: str
    message: str = ""
    moved: tuple[str, ...] = ()

    def __str__(self) -> str:
        found = f"{self.ended}: {self.message}" if self.message else self.ended
        left = f"; NOT AS BEFORE: {', '.join(self.moved)}" if self.moved else ""
        return f"{self.words}\n    {found}{left}"


def kind_of(number: int) -> Kind:
    """The kind of case `number`; makes no model."""
    return _kind(random.Random(f"any model {number}"))


def _kind(dice: random.Random) -> Kind:
    kinds = list(KINDS.values())
    return dice.choices(kinds, [one.weight for one in kinds])[0]


def draw(number: int) -> Case:
    """Case `number`, the same in every run."""
    dice = random.Random(f"any model {number}")
    kind = _kind(dice)
    shape = dice.choice(SHAPES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = kind.make(shape)
    ask = draw_ask(dice, isinstance(made.model, nn.Module))
    inputs = draw_inputs(
        dice,
        shape,
        dark=made.poisoned,
        simple=ask.family == "cli",
        may_scale=not made.poisoned,
        top=made.top,
    )
    return Case(number, kind, made, inputs, ask, dice.randrange(2**31))


def run_case(case: Case) -> Outcome:
    """Ask the model, then its twin, and judge. Never raises."""
    made, dice = case.made, random.Random(case.state)
    modules = [
        part for part in (made.model, *made.owned) if isinstance(part, nn.Module)
    ]
    for part in [] if case.kind.still else modules:
        unsettle(dice, part, case.kind.modal and part is made.model)
    before = snapshot(modules, case.inputs.owned)
    answer, error = _asked(case)
    changed = moved(before, snapshot(modules, case.inputs.owned))
    if case.ask.family == "cli":  # the model of a command is its own
        changed = [key for key in changed if not key.startswith("module")]
    ended, message = _ending(case, answer, error)
    return Outcome(case.words, case.kind.name, ended, message, tuple(changed))


def _asked(case: Case) -> tuple[Answer | None, Exception | None]:
    made = case.made
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return run(case.ask, made.model, made.options, case.inputs, False), None
        except Exception as error:
            return None, error


# ---------------------------------------------------------------------- how it ended
def _ending(
    case: Case, answer: Answer | None, error: Exception | None
) -> tuple[str, str]:
    expected = _expected(case)
    if error is not None:
        said = f"{type(error).__name__}: {' '.join(str(error).split())}"
        if not isinstance(error, TorchattacksExtError):
            return "wrong", said
        known = any(re.search(words, said) for words in expected)
        return ("refused", said) if known else ("wrong", f"not expected: {said}")
    assert answer is not None
    for name, text in answer.errors.items():
        if _FOREIGN.match(text) or not any(re.search(w, text) for w in expected):
            return "wrong", f"stage {name}: {text}"
    tried = any(1 in v for k, v in answer.columns.items() if "clean_correct" in k)
    if _must_refuse(case) and not answer.errors and (tried or case.ask.family != "zoo"):
        return "wrong", f"ended, and should be refused: {expected}"
    wrong = _compared(case, answer)
    if wrong:
        return "wrong", wrong
    for name, text in answer.errors.items():
        return "refused", f"stage {name}: {text}"
    return "right", ""


def _expected(case: Case) -> list[str]:
    """Words of the refusals that would be right."""
    kind, ask, inputs = case.kind, case.ask, case.inputs
    found = [inputs.refused] if inputs.refused and not _labels_are_free(case) else []
    if kind.refused and ask.family in kind.refuses:
        found.append(kind.refused)
    if not kind.gradient and (ask.family in GRADIENTS or ask.stages):
        found.append(NO_GRADIENT)
    if inputs.dark:
        found.append(RAISED)
    return found


def _must_refuse(case: Case) -> bool:
    kind, ask, inputs = case.kind, case.ask, case.inputs
    if inputs.refused and not _labels_are_free(case):
        return True
    if kind.refused and ask.family in kind.refuses:
        return ask.family not in kind.may_end
    if inputs.dark and ask.verb == "call":
        return True
    # without a gradient the answers of fim are doubted by a flag, or refused
    return not kind.gradient and ask.family == "zoo" and ask.stages[0] not in BLIND


def _labels_are_free(case: Case) -> bool:
    return case.inputs.bad == "no labels" and case.ask.family in ("fim", "blackbox")


def _compared(case: Case, answer: Answer) -> str:
    """What differs from the twin; empty where nothing does, or where there is none."""
    kind, ask, inputs, made = case.kind, case.ask, case.inputs, case.made
    several = min(rows_of_a_batch(ask, inputs), len(inputs.images)) > 1
    alike = "expanded" in inputs.words  # rows that are equal do not show it
    shown = ask.verb != "call" and several and not alike
    wanted = kind.flags if shown else frozenset()
    if not wanted <= answer.flags:
        return f"flags {sorted(answer.flags)} without {sorted(wanted)}"
    if made.twin is None or _labels_are_free(case):
        return ""
    if not kind.gradient and ask.family == "fim":
        if ask.verb == "measure" and not {"zero_gradient"} <= answer.flags:
            return f"zero_gradient is not among the flags {sorted(answer.flags)}"
        return ""
    asked = ask if kind.gradient else ask.blind()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        truth = run(asked, made.twin, made.twin_options, inputs, True)
    if answer.images is not None:
        assert truth.images is not None
        if not kind.gradient:  # candidates of parts that then end count as well
            return ""
        return _images_differ(made.twin, answer.images, truth.images, inputs)
    return _rows_differ(case, answer, truth) or _flags_differ(case, answer, truth)


def _images_differ(twin: Any, ours: Tensor, theirs: Tensor, inputs: Inputs) -> str:
    """Images of a call are compared by what the twin says of them."""
    dtype = torch.float64
    if isinstance(twin, nn.Module):
        dtype = next((p.dtype for p in twin.parameters()), dtype)
    else:
        dtype = torch.float32
    with torch.no_grad():
        one, two = (twin(side.to(dtype)) for side in (ours, theirs))
    far = (one - two).nan_to_num(0, 0, 0).abs().amax(1) / two.abs().amax(1)
    low = inputs.given.dtype if isinstance(inputs.given, Tensor) else torch.float32
    slack = 2e-3 if low != torch.float16 else 2e-2
    return f"images give other scores, by {far.tolist()}" if far.max() > slack else ""


def _rows_differ(case: Case, answer: Answer, truth: Answer) -> str:
    failed, kind = int(Status.FAILED), case.kind
    for name, values in truth.columns.items():
        stage = name.partition(" ")[0] if " " in name else ""
        if stage in answer.errors or (stage in ("msa", "fim") and not kind.gradient):
            continue
        ours = answer.columns.get(name)
        if ours is None:
            return f"{name} is missing"
        prefix = f"{stage} " if stage else ""
        status = answer.columns.get(f"{prefix}status", [0] * len(ours))
        for row, (one, two) in enumerate(zip(ours, values, strict=True)):
            excused = case.inputs.dark and status[row] == failed
            if row in case.inputs.dark and status[row] != failed:
                return f"{name}: the model raised on row {row}, status {status[row]}"
            # what breaks rows without a gradient also breaks them before gradients are missed
            more = (
                not kind.gradient and case.ask.family == "msa" and (one, two) == (2, 0)
            )
            if one != two and not excused and not more:
                return f"{name} is {ours}, of the plain twin {values}"
    for name, values in truth.close.items():
        stage = name.partition(" ")[0]
        if stage in answer.errors or (stage == "fim" and not kind.gradient):
            continue
        ours = answer.close[name]
        far = (ours - values).abs() / values.abs().clamp_min(1)
        same = (ours == values) | (ours.isnan() & values.isnan())
        excused = ours.isnan() if case.inputs.dark else torch.zeros_like(same)
        # differences of float32 scores carry their rounding over the step
        near = CLOSE if case.ask.family != "blackbox" else 20 * CLOSE
        if not bool((same | (far <= near) | excused).all()):
            return f"{name} is {ours.tolist()}, of the plain twin {values.tolist()}"
    return ""


def _flags_differ(case: Case, answer: Answer, truth: Answer) -> str:
    kind = case.kind
    free = kind.flags | kind.doubtful
    if not kind.gradient:
        free |= {"left_out", "square_after_gradients", "zero_gradient"}
        if case.ask.family == "msa" and "left_out" not in answer.flags:
            if 0 in answer.columns.get("verdict", ()):  # noise breaks rows before
                return f"left_out is not among the flags {sorted(answer.flags)}"
    more, less = answer.flags - truth.flags - free, truth.flags - answer.flags - free
    return (
        f"flags too many {sorted(more)}, too few {sorted(less)}" if more | less else ""
    )


# ---------------------------------------------------------------------- what many say
def summary(outcomes: Iterable[Outcome]) -> str:
    """Shares, refusals by kind and message, and each case that is not right, for a person."""
    all_ = list(outcomes)
    ends = Counter(one.ended for one in all_)
    shares = ", ".join(f"{n} {end} ({n / len(all_):.1%})" for end, n in ends.items())
    lines = [f"{len(all_)} cases of {len({one.kind for one in all_})} kinds: {shares}"]
    said: Counter[tuple[str, str]] = Counter()
    for one in all_:
        if one.ended == "refused":
            said[one.kind, re.sub(r"\d+", "#", one.message)[:110]] += 1
    lines += ["refusals by kind and message:"] * bool(said)
    for (kind, message), n in sorted(said.items()):
        lines.append(f"  {n:3d}  {kind}: {message}")
    wrong = [one for one in all_ if one.ended == "wrong" or one.moved]
    lines += [f"case {one}" for one in wrong]
    return "\n".join(lines)


def outcomes(numbers: Iterable[int]) -> list[Outcome]:
    """Cases by their numbers."""
    return [run_case(draw(number)) for number in numbers]
