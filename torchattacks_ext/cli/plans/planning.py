"""Which stages does a command line ask for, and what will they cost?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...errors import ConfigError
from ..common import words

if TYPE_CHECKING:
    from ...evaluation.plan import Plan

_OWN = ("clean", "prtest")
_SCORES = ("fim", "certified", "stress")
"""Stages that search for nothing; a flag of the same name adds them."""
_FLAGS = ("threat_model", "eps", "norm", "seed", "batch_size", "outputs", "output_key")
"""Keys of a plan that flags of the same name replace."""
_MIXED = ("msa", "autoattack", "diagnostics", "fast")
"""Stages of this package that --attacks may name; "autoattack" is the real one in any case."""
_FAST = {"name": "msa", "label": "fast", "version": "fast", "engine": "own"}
"""What "fast" is short for."""


def read_sampler(text: str) -> str | dict[str, Any]:
    """The law that --sampler asks for: its name, or a JSON object with its arguments.

    Whether there is such a law is checked with the plan. ConfigError for damaged JSON.

    >>> read_sampler("linf"), read_sampler('{"name": "gaussian", "sigma": 0.1}')
    ('linf', {'name': 'gaussian', 'sigma': 0.1})
    """
    if not text.lstrip().startswith("{"):
        return text.strip()
    try:
        found: dict[str, Any] = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"--sampler {text} is not JSON ({error}); write it like "
            '\'{"name": "gaussian", "sigma": 0.1}\''
        ) from error
    return found


@dataclass(frozen=True)
class Wanted:
    """Stages that a command line asks for beside those of a plan file.

    profile: all of them by one name. attacks: names that replace the attack stages, msa,
    autoattack and fast among them. test: arguments of PRTest. scores: stages that search for
    nothing, added where there is none yet. budget: arguments of a stage `budgeted`.
    """

    profile: str | None = None
    attacks: str | None = None
    test: Mapping[str, Any] = field(default_factory=dict)
    scores: tuple[str, ...] = ()
    budget: Mapping[str, Any] = field(default_factory=dict)


def budget_of(attack: str | None, half_width: float | None) -> dict[str, Any]:
    """The stage that --budget asks for, empty without it; ConfigError for a lone --half-width.

    >>> budget_of("autoattack", 0.02)
    {'attack': 'autoattack', 'half_width': 0.02}
    """
    if attack is None and half_width is not None:
        raise ConfigError("--half-width belongs to --budget NAME; give both or neither")
    given = {"attack": attack, "half_width": half_width}
    return {key: value for key, value in given.items() if value is not None}


def build_plan(
    base: Mapping[str, Any] | None, settings: Mapping[str, Any], wanted: Wanted
) -> Plan:
    """The plan of a file (or the default one), changed by flags; None in a mapping
    changes nothing.

    settings: eps, norm, threat_model, seed, batch_size. Of the attacks that are wanted FGSM and PGD
    have the arguments of the default plan, others those of their class; arguments of PRTest are for
    each of its stages, or for a new one where there is none. Raises ConfigError; for what a plan
    file says with its line.
    """
    from ...evaluation.plan import check_plan, default_plan
    from ...evaluation.plans.keys import whole_plan
    from ...evaluation.plans.profiles import profile_stages

    chosen = {key: value for key, value in settings.items() if value is not None}
    file = dict(base or {})
    if "threat_model" in chosen:  # in the place of another ball of the file
        file = {k: v for k, v in file.items() if k not in ("eps", "norm")}
    plan = whole_plan(file | chosen)
    if "eps" not in plan:
        raise ConfigError(
            "--eps is missing; give the radius, say --eps 8/255, or a --threat-model"
        )
    default = default_plan(plan["eps"]).model_dump()["stages"]
    if wanted.profile is not None:
        if "stages" in plan:
            raise ConfigError(
                f"--profile {wanted.profile} and the plan file both say which stages to run; "
                "leave one out"
            )
        norm = plan.get("norm", "Linf")
        plan["stages"] = profile_stages(wanted.profile, plan["eps"], norm)
    plan.setdefault("stages", default)
    _check_lines(base, plan)
    stages = [dict(stage) for stage in check_plan(plan).model_dump()["stages"]]
    if wanted.attacks is not None:
        stages = _with_attacks(stages, wanted.attacks, default)
    given = {key: value for key, value in wanted.test.items() if value is not None}
    _set_test(stages, given)
    for name in wanted.scores:
        if not any(stage["name"].lower() == name for stage in stages):
            stages.append({"name": name})
    if wanted.budget:
        stages.append({"name": "budgeted", **wanted.budget})
    return check_plan(plan | {"stages": stages})


def _check_lines(base: Mapping[str, Any] | None, plan: Mapping[str, Any]) -> None:
    """Raises ConfigError with a line of the file, where it is one that is wrong."""
    from ...evaluation.dry.reading import check_file
    from ...evaluation.plans.places import PlanFile

    if isinstance(base, PlanFile):
        check_file(PlanFile(plan, base.places))


def _with_attacks(
    stages: list[dict[str, Any]], attacks: str, default: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The stages with other attacks in the place of their own."""
    known = {s["name"]: dict(s) for s in default if s["name"] not in _OWN}
    known["fast"] = dict(_FAST)
    named = [known.get(name, {"name": name}) for name in _attack_names(attacks)]
    clean = [s for s in stages if s["name"].lower() == "clean"]
    kept = [s for s in stages if s["name"].lower() in ("prtest", *_SCORES, "budgeted")]
    return clean + named + kept


def replaced(
    base: Mapping[str, Any] | None, plan: Plan, attacks: str | None
) -> tuple[str, ...]:
    """A sentence for each thing of a plan file that `plan`, made of it and of flags, lacks.

    base: the file as read, None without one. attacks: what --attacks says.

    >>> from torchattacks_ext.evaluation.plan import check_plan
    >>> base = {"eps": "8/255", "stages": ["clean", {"name": "PGD", "steps": 100}]}
    >>> replaced(base, check_plan({"eps": 8 / 255, "stages": ["clean", "FGSM"]}), "FGSM")
    ("--attacks FGSM replaces stage 'PGD' (steps=100) of the plan file",)
    """
    from ...evaluation.plans.keys import whole_plan

    now, file = plan.model_dump(), whole_plan(base or {})
    found = [
        f"--{key.replace('_', '-')} {now[key]} replaces {key}: {value} of the plan file"
        for key, value in file.items()
        if key in _FLAGS and not _same(value, now[key])
    ]
    if "stages" in file:
        found += _other_stages(now | {"stages": file["stages"]}, now["stages"], attacks)
    return tuple(found)


def _other_stages(
    file: Mapping[str, Any], after: Sequence[Mapping[str, Any]], attacks: str | None
) -> Iterator[str]:
    """Stages of the file that are not run as they stand there, and why."""
    from ...evaluation.plan import check_plan

    ran = {_label(stage): stage for stage in after}
    for stage in check_plan(file).model_dump()["stages"]:
        label = _label(stage)
        own = stage["name"].lower() in (*_OWN, *_SCORES)
        if not own and not any(_same(stage, other) for other in after):
            given = {k: v for k, v in stage.items() if k != "name" and v is not None}
            said = ", ".join(f"{k}={v}" for k, v in given.items())
            shown = f"{label!r} ({said})" if said else repr(label)
            yield f"--attacks {attacks} replaces stage {shown} of the plan file"
        for key, old in stage.items() if own and label in ran else ():
            if not _same(old, ran[label].get(key)):
                flag = "--" + key.replace("_", "-")
                yield (
                    f"{flag} {ran[label].get(key)} replaces {key}={old} of stage {label!r} of the "
                    "plan file"
                )


def _label(stage: Mapping[str, Any]) -> str:
    return str(stage.get("label") or stage["name"])


def _same(one: Any, other: Any) -> bool:
    """Whether two values of a plan are one, be they written "8/255" or as a number."""
    from ...numerics.arguments import parse_number

    try:
        return one == other or parse_number(one, "") == parse_number(other, "")
    except ConfigError:
        return False


def _attack_names(text: str) -> list[str]:
    from ...evaluation.zoo.catalogue import attack_info
    from ...evaluation.zoo.foreign import is_foreign

    named = words(text, "--attacks")
    known = [name.lower() if name.lower() in _MIXED else name for name in named]
    return [
        name if name in _MIXED or is_foreign(name) else attack_info(name).name
        for name in known
    ]


def _set_test(stages: list[dict[str, Any]], arguments: dict[str, Any]) -> None:
    if not arguments:
        return
    tests = [stage for stage in stages if stage["name"].lower() == "prtest"]
    if not tests:
        tests = [{"name": "prtest"}]
        stages.extend(tests)
    for stage in tests:
        stage.update(arguments)
