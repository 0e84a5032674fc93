"""What must a reader know beside the numbers? Doubts, limits, methods, origin, how to read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ...results.base import codec
from ...results.base.facts import Flag
from ...results.evaluation import EvaluationReport
from .. import stages
from ..laws import kinds
from ..words import count, listing, one_line, things

_CLOPPER = "Clopper and Pearson 1934, Biometrika 26:404 (exact binomial intervals)"
_PRTEST = (
    "Mu and Lim 2024, doi:10.1145/3639478.3643519 (hypothesis test of probabilistic "
    "robustness)"
)
_TESTS = {
    "eprocess": "Ville 1939 and Robbins 1970 (tests that stay valid whenever they stop)",
    "sprt": "Wald 1945 and Sobel and Wald 1949 (sequential ratio test of three decisions)",
    "fixed": "Clopper and Pearson 1934 (binomial test of a fixed number of draws)",
    "group": "Lan and DeMets 1983; Jennison and Turnbull 1984 (planned looks, repeated p-values)",
    "splitting": "Guyader, Hengartner and Matzner-Lober 2011; Tit, Furon and Rousset 2021 "
    "(last-particle method)",
}
_HOEFFDING = (
    "Hoeffding 1956, Ann. Math. Stat. 27:713 (equally many draws of every image)"
)
_AUTOATTACK = (
    "Croce and Hein 2020, arXiv:2003.01690 (its components, from pyautoattack)"
)
_MSA = "arXiv:2606.01746 (mixed surrogate attack)"
_ELLIPS = (
    "arXiv:2605.25352 (Gaussian-mixture certificate); exact latent radius by the Lagrange dual, "
    "Lipschitz constant by the rules of this package"
)
_DIAGNOSTICS = (
    "Athalye et al. 2018, arXiv:1802.00420; Carlini et al. 2019, arXiv:1902.06705; Pintor et al. "
    "2022, arXiv:2106.09947 (indicators of masked gradients; each check names its own)"
)
_STRESS = (
    "Hendrycks and Dietterich 2019, arXiv:1903.12261 (the corruptions of CIFAR-10-C and "
    "ImageNet-C, by the parameters of their code)"
)
_SAMPLED = (
    "hypergeometric limits of finite populations; Waudby-Smith and Ramdas 2020, arXiv:2006.04347, "
    "and Spertus, Sridhar and Stark 2024, arXiv:2409.06680 (any time)"
)
_SETS = {
    "ood": (
        "Scores of images from elsewhere",
        "Hendrycks and Gimpel 2017, arXiv:1610.02136 (max softmax); Liu et al. 2020, "
        "arXiv:2010.03759 (energy); Hendrycks et al. 2022, arXiv:1911.11132 (max logit); Efron and "
        "Tibshirani 1993 (bootstrap)",
    ),
    "shift": (
        "Difference of accuracies",
        "Newcombe 1998, Stat. Med. 17:873; Tango 1998, Stat. Med. 17:891; McNemar 1947",
    ),
    "data-audit": ("Audit of the images", "exact and near copies by this package"),
}
_BETTING = (
    "Waudby-Smith and Ramdas 2024, arXiv:2010.09686 (interval of a mean accuracy)"
)
_TORCHATTACKS = "Kim 2020, arXiv:2010.01950 (torchattacks)"

HOW_TO_READ = (
    "An interval in square brackets says which shares are plausible for new images from the same "
    "source, given that these images were drawn at random from it. Other sources are not covered.",
    "What an attack leaves is an upper bound. The attack found a harmful change for other images; "
    "for these it found none, which does not mean that there is none.",
    "A random test certifies an image if it has shown that at most the tolerated share of random "
    "perturbations makes the model fail. It speaks of chance, not of an adversary.",
    "“Undecided” means that neither claim could be made: the budget of draws ended first, or the "
    "test gave up between the two, as a sequential ratio test may. It is not counted as robust.",
    "A stage that failed is never counted as a pass; nothing is known from it.",
    "Cost is counted in row-passes (one image through the model once, forward or backward) and "
    "wall-clock seconds.",
)
"""How to read the numbers, one thing a sentence or two."""


@dataclass(frozen=True)
class Doubt:
    """A flag and where it was raised; where: "whole run" or stages, with counts of images."""

    code: str
    message: str
    where: str


def doubts(report: EvaluationReport) -> list[Doubt]:
    """Every flag of the report and of its stages, each code once with the places that raised it.

    What a flag says of one stage is a doubt of its own.
    """
    places: dict[tuple[str, Any], list[str]] = {}
    first: dict[tuple[str, Any], Flag] = {}
    for stage in report.stages:
        for flag in stage.result.flags if stage.result is not None else ():
            first.setdefault(_key(flag), flag)
            place = _place(one_line(stage.name, 40), flag)
            places.setdefault(_key(flag), []).append(place)
    for flag in report.flags:
        if _key(flag) not in first:  # the run repeats the flags of its stages
            first[_key(flag)] = flag
            places[_key(flag)] = [_place("whole run", flag)]
    return [
        Doubt(one_line(flag.code, 60), one_line(flag.message), ", ".join(places[key]))
        for key, flag in first.items()
    ]


def _key(flag: Flag) -> tuple[str, Any]:
    return flag.code, str(flag.details.get("stage", ""))


def _place(name: str, flag: Flag) -> str:
    return name if flag.count is None else f"{name}: {things(flag.count, 'image')}"


def not_tested(report: EvaluationReport) -> list[str]:
    """What this report says nothing about, from its own plan outwards."""
    found = []
    for kinds_of, name in (
        ((stages.is_attack, stages.is_budgeted), "attack"),
        ((stages.is_test,), "random test"),
    ):
        mine = [s for s in report.stages if any(kind(s) for kind in kinds_of)]
        if not any(stages.usable(stage) for stage in mine):
            found.append(f"No {name} gave a result." if mine else f"No {name} was run.")
    inside, free = stages.balls(report), stages.free_laws(report)
    if inside:
        drawn = f", beyond random ones ({listing(free)})" if free else ""
        found.append(
            f"Changes outside the {listing(inside)}: larger ones, or of another norm{drawn}."
        )
    ran = [s for s in report.stages if stages.is_test(s) and stages.usable(s)]
    known = {kind for stage in ran for kind in kinds(stages.settings_of(stage))}
    stressed = stages.stressed(report)
    usual = ("rotation", "translation", "blur")[: 2 if stressed else 3]
    kept = [kind for kind in usual if kind not in known]
    weather = [] if stressed else ["weather", "compression"]
    others = ", ".join([*kept, *weather, "other cameras", "printed patches"])
    return [
        *found,
        f"Other perturbations: {others}.",
        "Attacks that are stronger, run longer, or are made for this model and its defence.",
        f"Images from {stages.sources(report)} or a later time than those measured here.",
        "Backdoors and other hidden triggers.",
        "Poisoned or mislabelled training data.",
        "Privacy: extraction of the model, of training images, or of who is in them.",
        "The system around the model: cameras, software, people who rely on it.",
    ]


def methods(report: EvaluationReport) -> list[tuple[str, str]]:
    """(name, citation) of every method that the report's numbers rest on, in the order of use."""
    found: dict[str, str] = {}
    for stage in report.stages:
        attacks = stages.is_attack(stage) or stages.is_sweep(stage)
        entry = stages.zoo_entry(stage) if attacks else None
        if entry is not None:
            paper = f"arXiv:{entry.paper}; " if entry.paper else ""
            found[entry.name] = paper + _TORCHATTACKS
        elif stages.settings_of(stage).get("method") == "MSA":
            found["AutoAttack"] = _AUTOATTACK
            if stages.settings_of(stage).get("version") != "autoattack":
                found["MSA"] = _MSA
        elif attacks:
            origin = stages.settings_of(stage).get("origin")
            of = f" of {one_line(origin, 60)}" if origin else ""
            found[one_line(stage.name)] = f"no citation is known for this attack{of}"
        elif stages.is_budgeted(stage):
            found["Sampled attack"] = _SAMPLED
        elif stages.is_diagnosis(stage):
            found["Diagnostics"] = _DIAGNOSTICS
        elif stages.is_certified(stage):
            found["Ellips"] = _ELLIPS
        elif stages.is_stress(stage):
            found["Corruptions"] = f"{_STRESS}; {_BETTING}"
        elif stage.kind in _SETS:
            found[_SETS[stage.kind][0]] = _SETS[stage.kind][1]
        elif stages.is_test(stage):
            test = str(stages.settings_of(stage).get("test", "eprocess"))
            name = "PRTest" if test == "eprocess" else f"PRTest ({one_line(test, 40)})"
            found[name] = "; ".join(filter(None, (_PRTEST, _TESTS.get(test, ""))))
    if any(
        int(getattr(s.result, "n_mean", torch.zeros(1)).sum()) for s in report.stages
    ):
        found["Mean failure rate"] = _HOEFFDING
    return [*found.items(), ("Intervals", _CLOPPER)]


def provenance(report: EvaluationReport) -> list[tuple[str, str]]:
    """(name, value) of model, data, seeds, versions and total cost, nested names joined by dots."""
    found = []
    for head in ("model", "data", "provenance"):
        found += _flat(getattr(report, head), "" if head == "provenance" else head)
    if not any(name.rpartition(".")[2] == "seed" for name, _ in found):
        settings = [
            report.plan,
            *(stages.settings_of(stage) for stage in report.stages),
        ]
        seeds = dict.fromkeys(str(s["seed"]) for s in settings if "seed" in s)
        found.append(
            ("seed", ", ".join(one_line(s, 40) for s in seeds) or "not recorded")
        )
    cost = report.cost
    passes = (
        f"{count(cost.forward)} forward and {count(cost.backward)} backward row-passes"
    )
    return [*found, ("total cost", f"{passes}, {cost.seconds:,.1f} s")]


def _flat(facts: Mapping[str, Any], prefix: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, value in facts.items():
        name = ".".join(filter(None, (prefix, one_line(key, 60))))
        if isinstance(value, Mapping):
            found += _flat(value, name)
        elif value is not None:
            found.append(
                (name, one_line(value if isinstance(value, str) else _json(value)))
            )
    return found


def _json(value: Any) -> str:
    return json.dumps(codec.plain(value), ensure_ascii=False)


def plan_json(report: EvaluationReport) -> str:
    """The plan as indented JSON, non-finite numbers as strings."""
    return json.dumps(codec.plain(report.plan), indent=2, allow_nan=False)
