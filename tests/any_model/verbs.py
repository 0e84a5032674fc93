"""What is asked of a model? Each verb, and its answer as numbers that can be compared."""

from __future__ import annotations

import contextlib
import io
import json
import random
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

import torchattacks_ext as tax
from torchattacks_ext.cli.main import main
from torchattacks_ext.engines.judge.ledger import AttackSpec
from torchattacks_ext.errors import ConfigError, InputError, ModelContractError
from torchattacks_ext.results.accuracy import Accuracy
from torchattacks_ext.results.attack import AttackResult
from torchattacks_ext.results.prob_robustness import ProbRobustness
from torchattacks_ext.results.sensitivity import Sensitivity

from . import shelf
from .inputs import Inputs

PRTEST: dict[str, Any] = dict(tolerance=0.1, significance=0.1, n_max=40)
PLAN = (
    AttackSpec("noise", on="target", steps=2),
    AttackSpec("apgd", loss="ce", steps=4),
    AttackSpec("apgd", loss="margin", steps=3),
    AttackSpec("square", on="target", steps=10),
)
STAGES = ("FGSM", "PGD", "MIFGSM", "Square", "GN", "prtest", "fim", "msa")
BLIND = ("Square", "GN", "prtest", "msa")
"""Stages that do without the gradient."""
ARGUMENTS: dict[str, dict[str, Any]] = {
    "PGD": dict(steps=2),
    "MIFGSM": dict(steps=2),
    "Square": dict(n_queries=8),
    "prtest": PRTEST,
    "msa": dict(version="custom", plan=[vars(line) for line in PLAN]),
}


@dataclass(frozen=True, eq=False)
class Ask:
    """A verb with its settings: `family` of kind.ALL, `verb` "measure", "call" or "evaluate"."""

    family: str
    verb: str
    eps: float = 0.05
    norm: str = "Linf"
    batch_size: int = 64
    stages: tuple[str, ...] = ()
    plan: tuple[AttackSpec, ...] = PLAN

    def blind(self) -> Ask:
        """The same without what needs a gradient."""
        blind = tuple(line for line in self.plan if line.kind in ("noise", "square"))
        return replace(self, plan=blind)

    @property
    def words(self) -> str:
        """For a person."""
        stages = f" {'+'.join(self.stages)}" if self.stages else ""
        about = f"eps {self.eps:g} {self.norm}, batches of {self.batch_size}"
        return f"{self.family}.{self.verb}{stages} ({about})"


@dataclass(frozen=True, eq=False)
class Answer:
    """What came back. columns: exact ones by name. close: name -> values that may round. images:
    of a call. flags: codes. failed: rows of status FAILED. errors: stages that ended early.
    """

    columns: Mapping[str, list[Any]] = field(default_factory=dict)
    close: Mapping[str, Tensor] = field(default_factory=dict)
    images: Tensor | None = None
    flags: frozenset[str] = frozenset()
    errors: Mapping[str, str] = field(default_factory=dict)


def draw_ask(dice: random.Random, module: bool) -> Ask:
    """A verb; the command line only for Modules."""
    family = dice.choices(
        ("prtest", "fim", "blackbox", "msa", "zoo", "plan", "cli"),
        (30, 22, 6, 14, 20, 4, 3 * module),
    )[0]
    calls = family in ("prtest", "fim", "msa") and dice.random() < 0.4
    verb = "call" if calls else "measure"
    stages: tuple[str, ...] = ()
    if family in ("zoo", "plan", "cli"):
        verb = "evaluate"
        stages = (dice.choice(STAGES[:5]),)
        if family != "zoo":
            stages = (*dice.sample(STAGES[5:], 1), *stages)
    norm = dice.choice(("Linf", "Linf", "Linf", "Linf", "L2", "L2", "L1"))
    if norm == "L1" and stages:  # hardly an attack of the zoo has it
        norm = "L2"
    eps = dice.choice((0.02, 0.06, 0.1)) * {"Linf": 1, "L2": 3, "L1": 12}[norm]
    return Ask(family, verb, eps, norm, dice.choice((1, 2, 3, 64, 64)), stages)


def run(
    ask: Ask, model: Any, options: Mapping[str, Any], inputs: Inputs, twin: bool
) -> Answer:
    """Ask a model; its twin gets the plain images. Raises what the package raises."""
    if ask.verb == "evaluate":
        doing = _evaluate if ask.family != "cli" or twin else _command
        return doing(ask, model, options, inputs, twin)
    probe = _probe(ask, model, options, inputs)
    if ask.verb == "call":
        return _call(probe, ask, inputs, twin)
    data, labels = inputs.data(False)
    if twin:
        data, labels = _batches(ask, inputs), None
    result = probe.measure(data, labels)
    return _of_result(result)


def _batches(ask: Ask, inputs: Inputs) -> Any:
    """The plain rows, cut as the caller's are."""
    size = rows_of_a_batch(ask, inputs)
    cuts = range(0, len(inputs.images), size)
    return [(inputs.images[i : i + size], inputs.classes[i : i + size]) for i in cuts]


def rows_of_a_batch(ask: Ask, inputs: Inputs) -> int:
    """Rows that are handed to the model's look and to a batch of a stage, at most."""
    return (
        inputs.batch if inputs.form in ("loader", "pairs", "dicts") else ask.batch_size
    )


def _probe(ask: Ask, model: Any, options: Mapping[str, Any], inputs: Inputs) -> Any:
    common = dict(norm=ask.norm, batch_size=ask.batch_size, bounds=inputs.bounds)
    common |= dict(eps=ask.eps * inputs.width, **options)
    if ask.family == "prtest":
        return tax.PRTest(model, n_queries=6, **PRTEST, **common)
    if ask.family == "msa":
        return tax.MSA(
            model,
            version="custom",
            plan=ask.plan,
            fresh_draws=8,
            partitions=1,
            **common,
        )
    if ask.family == "blackbox":
        return tax.FIMScore(model, method="blackbox", n_directions=12, **common)
    return tax.FIMScore(model, **common)


def _call(probe: Any, ask: Ask, inputs: Inputs, twin: bool) -> Answer:
    given, labels = inputs.given, inputs.labels
    if twin:
        given = inputs.images
        if isinstance(inputs.given, Tensor):
            given = given.to(inputs.given.dtype)
        labels = inputs.classes
    found = probe(given, labels)
    right = isinstance(found, Tensor) and found.shape == inputs.images.shape
    assert right and not found.is_inference() and not found.requires_grad
    if isinstance(given, Tensor):
        assert found.dtype == given.dtype, (found.dtype, given.dtype)
    _check_inside(found, ask, inputs)
    return Answer(images=found.double())


def _check_inside(found: Tensor, ask: Ask, inputs: Inputs) -> None:
    """Inside the ball and the bounds, but for the rounding of the dtype."""
    slack = 1e-5 + 4 * torch.finfo(found.dtype).eps
    far = (found.double() - inputs.images.double()).flatten(1)
    order = {"Linf": torch.inf, "L2": 2, "L1": 1}[ask.norm]
    length = torch.linalg.vector_norm(far, ord=order, dim=1)
    grown = slack * far.shape[1] ** (1 / order)
    radius = ask.eps * inputs.width
    assert bool((length <= radius * (1 + 1e-4) + grown).all()), "outside the ball"
    low, high = inputs.bounds
    assert low - slack <= float(found.min()) and float(found.max()) <= high + slack


def _of_result(result: Any, name: str = "") -> Answer:
    """Decisions of a result and the measurements that the issue names."""
    columns: dict[str, list[Any]] = {}
    for column in ("verdict", "status", "clean_correct", "n_failures", "n_samples"):
        if hasattr(result, column):
            columns[name + column] = getattr(result, column).tolist()
    close = {}
    if hasattr(result, "log_lam"):
        close[name + "log_lam"] = result.log_lam
    flags = frozenset(flag.code for flag in result.flags)
    return Answer(columns, close, None, flags)


def _stages(ask: Ask) -> list[dict[str, Any]]:
    return [{"name": name} | ARGUMENTS.get(name, {}) for name in ask.stages]


def _evaluate(
    ask: Ask, model: Any, options: Mapping[str, Any], inputs: Inputs, twin: bool
) -> Answer:
    plan = dict(eps=ask.eps * inputs.width, norm=ask.norm, stages=_stages(ask))
    plan |= dict(batch_size=ask.batch_size, bounds=inputs.bounds, **options)
    data = _batches(ask, inputs) if twin else inputs.data(True)[0]
    return _of_report(tax.evaluate(model, data, plan))


def _of_report(report: Any) -> Answer:
    columns: dict[str, list[Any]] = {}
    close: dict[str, Tensor] = {}
    errors = {}
    for stage in report.stages:
        if stage.error is not None:
            errors[stage.name] = stage.error
        if stage.result is not None:
            part = _of_result(stage.result, f"{stage.name} ")
            columns |= part.columns
            close |= part.close
    flags = frozenset(flag.code for flag in report.flags)
    return Answer(columns, close, None, flags, errors)


def _command(
    ask: Ask, model: Any, options: Mapping[str, Any], inputs: Inputs, twin: bool
) -> Answer:
    """The same by `torchattacks-ext evaluate`; its refusals become our exceptions again."""
    shelf.put(model)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        images, classes = inputs.images.numpy(), inputs.classes.numpy()
        np.savez(place / "data.npz", images=images, labels=classes)
        plan = dict(eps=ask.eps, norm=ask.norm, stages=_stages(ask), **options)
        plan |= dict(batch_size=ask.batch_size)
        (place / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
        line = [
            "evaluate",
            "--model",
            "any_model.shelf:take",
            "--out",
            f"{place / 'out'}",
        ]
        line += [
            "--data",
            f"npz:{place / 'data.npz'}",
            "--plan",
            f"{place / 'plan.json'}",
        ]
        said, told = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(told):
            code = main(line)
        file = place / "out" / "report.json"
        if not file.is_file():
            raise _refusal(code, told.getvalue())
        found = _of_report(_read(json.loads(file.read_text(encoding="utf-8"))))
    expected = 2 if "model_raised" in found.flags else int(bool(found.errors))
    assert code == expected, f"exit code {code}, expected {expected}"
    return found


def _read(report: Mapping[str, Any]) -> Any:
    """The parts of a written report that are compared."""
    families = {
        f.schema: f for f in (Accuracy, AttackResult, ProbRobustness, Sensitivity)
    }
    stages = []
    for stage in report["stages"]:
        raw = stage["result"]
        result = None if raw is None else families[raw["schema"]].from_dict(raw)
        known = dict(name=stage["name"], error=stage["error"], result=result)
        stages.append(SimpleNamespace(**known))
    flags = [SimpleNamespace(code=flag["code"]) for flag in report["flags"]]
    return SimpleNamespace(stages=stages, flags=flags)


class Foreign(Exception):
    """The command line ended in words that are not ours."""


def _refusal(code: int, told: str) -> Exception:
    """An exception for the words on stderr; a foreign one where they begin with its class."""
    line = (told.strip().splitlines() or [""])[-1]
    head = line.removeprefix("error: ").partition(":")[0]
    named = head.isidentifier() and head.endswith(("Error", "Exception", "Warning"))
    if code != 2 or not line.startswith("error: ") or named:
        return Foreign(f"exit code {code}: {line}")
    kinds = {"images": InputError, "--data": InputError, "eps": ConfigError}
    return kinds.get(head.partition(" ")[0], ModelContractError)(line[7:])
