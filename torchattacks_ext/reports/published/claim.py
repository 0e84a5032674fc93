"""Which fields of a RobustBench entry does a run support? Those, and a plain refusal of others.

Fields are those of model_info/DATASET/NORM/NAME.json (Croce et al. 2021, arXiv:2010.09670):
accuracies in percent as text, eps as text. A number is filled in only where the run did what the
benchmark does: its images, all of them, its ball, AutoAttack's standard version.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import ConfigError, InputError
from ...results.accuracy import Accuracy
from ...results.attack import AttackResult
from ...results.evaluation import EvaluationReport, StageReport
from .. import stages
from ..words import count, one_line, radius

IMAGES = {"cifar10": 10_000, "cifar100": 10_000, "imagenet": 5_000}
"""Data set -> images that an entry is measured on."""
BALLS = {
    ("cifar10", "Linf"): "8/255",
    ("cifar10", "L2"): "0.5",
    ("cifar100", "Linf"): "8/255",
    ("imagenet", "Linf"): "4/255",
}
"""(data set, norm) -> radius of the leaderboard."""
STANDARD = ("apgd-ce", "apgd-t", "fab-t", "square")
"""Parts of AutoAttack's standard version, in this order."""
BY_HAND = (
    "is about the paper or the training, which no run measures: fill it in by hand"
)
_UNRELIABLE = (
    "randomised_model",
    "batch_dependent_model",
    "zero_gradient",
    "unreliable_gradients",
    "square_after_gradients",
    "shared_model_draws",
)
"""Doubts of a run that its authors would have to answer first."""


@dataclass(frozen=True)
class Claim:
    """What may be claimed.

    fields: of model_info, those that the run supports. refused: field -> why it is not there.
    facts: what the fields rest on.

    >>> robustbench_claim(EvaluationReport("net", {}, {}, {"n": 0}, stages=())).fields
    {}
    """

    fields: Mapping[str, Any]
    refused: Mapping[str, str]
    facts: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The fields as model_info has them, refusals and facts under one key beside them."""
        own = {"refused": dict(self.refused), **self.facts}
        return {**self.fields, "torchattacks_ext": own}


def render_claim(report: EvaluationReport, dataset: str | None = None) -> str:
    """:func:`robustbench_claim` as JSON.

    >>> report = EvaluationReport("net", {}, {}, {"n": 0}, stages=())
    >>> json.loads(render_claim(report))["torchattacks_ext"]["refused"]["clean_acc"]
    'no clean accuracy was measured'
    """
    told = robustbench_claim(report, dataset).to_dict()
    return json.dumps(told, indent=2, allow_nan=False) + "\n"


def robustbench_claim(report: EvaluationReport, dataset: str | None = None) -> Claim:
    """The fields of an entry that this run supports.

    dataset: "cifar10", "cifar100" or "imagenet", where the name of the data does not say it; it is
    noted as the caller's word. Raises ConfigError for another one.
    """
    if dataset is not None and dataset not in IMAGES:
        raise ConfigError(
            f"dataset={dataset!r} is not one of {', '.join(IMAGES)}, which have entries"
        )
    fields: dict[str, Any] = {}
    refused = dict.fromkeys(
        (
            "link",
            "name",
            "authors",
            "additional_data",
            "number_forward_passes",
            "venue",
            "architecture",
            "reported",
        ),
        BY_HAND,
    )
    stage = _autoattack(report)
    for key, value, why in (
        _dataset(report, dataset),
        _eps(report, stage, dataset),
        _clean(report, dataset),
        _attacked(report, stage, dataset),
        _external(report, stage, dataset),
        _reliable(report, stage),
    ):
        if why:
            refused[key] = why
        else:
            fields[key] = value
    if "eps" in refused or "autoattack_acc" in refused:
        for key in ("external", "unreliable"):  # of a number that is not there
            if fields.pop(key, None) is not None:
                refused[key] = "there is no autoattack_acc that it would stand beside"
    refused["corruptions_acc"] = (
        "is measured on the files of CIFAR-10-C and its like; corruptions of a run are drawn anew"
    )
    return Claim(fields, refused, _facts(report, stage, dataset))


Field = tuple[str, Any, str]
"""Key, value, why not ("" for a value that stands)."""


def known_dataset(report: EvaluationReport, dataset: str | None) -> str:
    """Which benchmark the data are of; "" for none."""
    if dataset is not None:
        return dataset
    name = "".join(c for c in str(report.data.get("name", "")).lower() if c.isalnum())
    return name if name in IMAGES else ""


def _dataset(report: EvaluationReport, dataset: str | None) -> Field:
    found = known_dataset(report, dataset)
    name = one_line(report.data.get("name") or "without a name", 60)
    return "dataset", found, "" if found else f"the data are {name!r}; {_sets()}"


def _sets() -> str:
    return f"entries are of {', '.join(IMAGES)}"


def _all_images(report: EvaluationReport, n: int, dataset: str | None) -> str:
    """Why a number is not of the benchmark's images; "" where it is."""
    found = known_dataset(report, dataset)
    if not found:
        return f"the data are not of the benchmark: {_sets()}"
    if n != IMAGES[found]:
        return f"{count(n)} images; entries of {found} are of {count(IMAGES[found])}"
    return ""


def _clean(report: EvaluationReport, dataset: str | None) -> Field:
    result = next(
        (s.result for s in report.stages if isinstance(s.result, Accuracy)), None
    )
    if result is None:
        return "clean_acc", None, "no clean accuracy was measured"
    if not bool(result.answered.all()):
        return "clean_acc", None, "some images were not reached, or the model raised"
    why = _all_images(report, len(result), dataset)
    return "clean_acc", _percent(result.clean_accuracy), why


def _autoattack(report: EvaluationReport) -> StageReport | str:
    """The stage that ran AutoAttack's standard version through, or why there is none."""
    for stage in report.stages:
        settings = stages.settings_of(stage)
        if settings.get("method") != "MSA" or settings.get("version") != "autoattack":
            continue
        result, name = stage.result, one_line(stage.name, 60)
        if stage.error is not None or not isinstance(result, AttackResult):
            return f"stage {name} has no result"
        parts = tuple(source.rpartition("/")[2] for source in result.sources)
        if parts != STANDARD or settings.get("surrogates"):
            return f"stage {name} ran {', '.join(parts)}, not {', '.join(STANDARD)}"
        if bool(result.unknown.any()):
            return f"stage {name} did not get through all images"
        return stage
    return (
        "AutoAttack's standard version was not run; the stage is "
        '{"name": "msa", "version": "autoattack"}'
    )


def _eps(
    report: EvaluationReport, stage: StageReport | str, dataset: str | None
) -> Field:
    if isinstance(stage, str):
        return "eps", None, stage
    found, settings = known_dataset(report, dataset), stages.settings_of(stage)
    if not found:
        return "eps", None, f"the data are not of the benchmark: {_sets()}"
    norm, size = settings.get("norm"), radius(settings.get("eps"))
    wanted = BALLS.get((found, str(norm)))
    if wanted is None:
        return "eps", None, f"there is no leaderboard of {found} in {norm}"
    why = f"{norm} {size}; the leaderboard of {found} is in {norm} {wanted}"
    return "eps", wanted, "" if size == wanted else why


def _attacked(
    report: EvaluationReport, stage: StageReport | str, dataset: str | None
) -> Field:
    key = "autoattack_acc"
    if isinstance(stage, str):
        return key, None, stage
    assert isinstance(stage.result, AttackResult)
    why = _all_images(report, len(stage.result), dataset)
    why = why or _eps(report, stage, dataset)[2]
    return key, _percent(stage.result.robust_accuracy), why


def _external(
    report: EvaluationReport, stage: StageReport | str, dataset: str | None
) -> Field:
    """What further searches leave, where that is fewer: entries are ranked by the smaller."""
    key = "external"
    if isinstance(stage, str):
        return key, None, stage
    assert isinstance(stage.result, AttackResult)
    try:
        worst = report.worst_case()
    except InputError as error:
        return key, None, str(error)
    if worst is None or worst.get("robust_accuracy_bounds") or report.failed:
        return key, None, "the worst case over all attacks is not known"
    if len(worst["stages"]) < 2:
        return key, None, "no other search was run"
    if not worst["robust_accuracy"] < stage.result.robust_accuracy:
        return key, None, "no other search left fewer images than AutoAttack"
    why = _all_images(report, int(worst["n"]), dataset)
    return key, _percent(worst["robust_accuracy"]), why


def _reliable(report: EvaluationReport, stage: StageReport | str) -> Field:
    key = "unreliable"
    if isinstance(stage, str):
        return key, None, stage
    codes = {flag.code for flag in report.flags}
    masked = [
        bool(getattr(s.result, "masked", False))
        for s in report.stages
        if stages.is_diagnosis(s) and stages.usable(s)
    ]
    if any(masked) or codes & set(_UNRELIABLE):
        return key, True, ""
    why = "" if masked else "needs a stage diagnostics, which was not run"
    return key, False, why


def _facts(
    report: EvaluationReport, stage: StageReport | str, dataset: str | None
) -> dict[str, Any]:
    return {
        "report": one_line(report.name, 60),
        "threat_model": (
            None if isinstance(stage, str) else stages.settings_of(stage)["norm"]
        ),
        "images": stages.n_images(report),
        "images_sha256": report.data.get("sha256"),
        "weights_sha256": report.model.get("sha256"),
        "class": report.model.get("class"),
        "dataset_by": "caller" if dataset is not None else "data",
        "external_checks": [] if isinstance(stage, str) else _others(report, stage),
        "doubts": sorted({flag.code for flag in report.flags}),
        "versions": dict(report.provenance.get("versions", {})),
    }


def _others(report: EvaluationReport, stage: StageReport) -> list[str]:
    """Names of the further searches in the same run."""
    return [
        one_line(s.name, 60)
        for s in report.stages
        if s is not stage and stages.is_attack(s) and stages.usable(s)
    ]


def _percent(value: float) -> str:
    """A share as an entry writes it.

    >>> _percent(0.70694)
    '70.69'
    """
    return f"{100 * value:.2f}"
