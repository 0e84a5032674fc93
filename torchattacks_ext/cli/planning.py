"""Which stages does a command line ask for, and what will they cost?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, InputError, MissingExtra
from .common import words

if TYPE_CHECKING:
    from ..evaluation.plan import Plan
    from ..evaluation.stages import RowStage

_OWN = ("clean", "prtest")
_SCORES = ("fim", "certified", "stress")
"""Stages that search for nothing; a flag of the same name adds them."""
_FLAGS = ("eps", "norm", "seed", "batch_size", "outputs", "output_key")
"""Keys of a plan that flags of the same name replace."""
_MIXED = ("msa", "autoattack", "diagnostics", "fast")
"""Stages of this package that --attacks may name; "autoattack" is the real one in any case."""
_FAST = {"name": "msa", "label": "fast", "version": "fast", "engine": "own"}
"""What "fast" is short for."""


def read_plan(path: Path) -> dict[str, Any]:
    """A plan file (.json, .yaml, .yml) as a dict. InputError for anything else."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--plan {path} cannot be read: {error}") from error
    if path.suffix.lower() == ".json":
        try:
            found = json.loads(text)
        except json.JSONDecodeError as error:
            raise InputError(f"--plan {path} is not JSON: {error}") from error
    else:
        found = _yaml(text, path)
    if not isinstance(found, dict):
        raise InputError(
            f"--plan {path} holds a {type(found).__name__}, expected keys like eps "
            "and stages"
        )
    return found


def _yaml(text: str, path: Path) -> Any:
    try:
        import yaml
    except ImportError as error:
        raise MissingExtra(
            f"--plan {path} needs PyYAML; pip install pyyaml, or write it as JSON"
        ) from error
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"--plan {path} is not YAML: {error}") from error


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


def build_plan(
    base: Mapping[str, Any] | None,
    settings: Mapping[str, Any],
    attacks: str | None,
    test: Mapping[str, Any],
    fim: bool = False,
    certified: bool = False,
    stress: bool = False,
) -> Plan:
    """The plan of a file (or the default one), changed by flags; None in a mapping
    changes nothing.

    settings: eps, norm, seed, batch_size. attacks: names that replace the attack
    stages, msa, autoattack and fast among them; FGSM and PGD have the arguments of the
    default plan, others those of their class. test: arguments of PRTest, for each of
    its stages, or for a new one where there is none. fim, certified, stress: a stage of FIMScore,
    of certificates, of corruptions, where there is none yet. Raises ConfigError.
    """
    from ..evaluation.plan import check_plan, default_plan

    chosen = {key: value for key, value in settings.items() if value is not None}
    plan = dict(base or {}) | chosen
    if "eps" not in plan:
        raise ConfigError("--eps is missing; give the radius, say --eps 8/255")
    default = default_plan(plan["eps"]).model_dump()["stages"]
    plan.setdefault("stages", default)
    stages = [dict(stage) for stage in check_plan(plan).model_dump()["stages"]]
    if attacks is not None:
        known = {stage["name"]: stage for stage in default if stage["name"] not in _OWN}
        known["fast"] = _FAST
        named = [known.get(name, {"name": name}) for name in _attack_names(attacks)]
        stages = (
            [s for s in stages if s["name"].lower() == "clean"]
            + named
            + [s for s in stages if s["name"].lower() in ("prtest", *_SCORES)]
        )
    _set_test(stages, {key: value for key, value in test.items() if value is not None})
    for name, asked in zip(_SCORES, (fim, certified, stress)):
        if asked and not any(stage["name"].lower() == name for stage in stages):
            stages.append({"name": name})
    return check_plan(plan | {"stages": stages})


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
    now, file = plan.model_dump(), dict(base or {})
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
    from ..evaluation.plan import check_plan

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
    from ..numerics.arguments import parse_number

    try:
        return one == other or parse_number(one, "") == parse_number(other, "")
    except ConfigError:
        return False


def _attack_names(text: str) -> list[str]:
    from ..evaluation.zoo.catalogue import attack_info
    from ..evaluation.zoo.foreign import is_foreign

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


def row_passes(stage: RowStage) -> float | None:
    """About how many row-passes an image the stage will cost; None where the model
    decides.

    Own stages say it themselves (PRTest: for an image that never fails). An attack of
    fixed steps costs a forward and, if it uses gradients, a backward pass a step, and
    two to be judged.
    """
    from ..evaluation.stages import AttackStage

    if not isinstance(stage, AttackStage):
        return stage.cost_per_image
    info = stage.info
    if info.access == "none":
        return 2.0
    if info.family not in ("gradient", "transfer", "score"):
        return None
    steps = stage.arguments.get(info.steps_argument or "", info.default_steps)
    each = 1 if info.access == "score" else 2
    return 2.0 + each * (1 if steps is None else int(steps))
