"""Do all stages of a profile end on three nets, one with two classes? Passes told and spent, time.

`standard` on a residual net of CIFAR-10, a small one of MNIST and one of two classes, which
`pneumonia_net.py` trains; each run keeps a state, so that the same call goes on after any end.
"told" is the dry run's count: with usual shares of right images and of those that withstand an
attack ("guessed"), and with these as the run found them ("looked").

Run: python benchmarks/profile_three.py --state /tmp/three --n 200
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import pneumonia_net
import record
import tax_data
import torch
from own_vs_autoattack import radius
from torch import Tensor, nn

from torchattacks_ext import ReliabilityWarning, evaluate
from torchattacks_ext._typing import Status
from torchattacks_ext.cli.common import ending
from torchattacks_ext.evaluation.dry.costs import Shares, expected_passes
from torchattacks_ext.evaluation.plan import check_plan
from torchattacks_ext.evaluation.plans.profiles import profile_stages
from torchattacks_ext.evaluation.stages import build_stages
from torchattacks_ext.results.base.facts import versions
from torchattacks_ext.results.evaluation import EvaluationReport

OUT = record.RESULTS / "profile_three.json"
NETS = {
    "pneumonia_net": ("8/255", 2),
    "mnist_fast_pgd": (".3", 10),
    "cifar10_resnet2b_at2": ("2/255", 10),
}


def victim(name: str, n: int, folder: Path) -> tuple[nn.Module, Tensor, Tensor]:
    """A net and its first n test images and labels; the two-class one is trained where missing."""
    if name != "pneumonia_net":
        images, labels = tax_data.test_images(name.partition("_")[0], n)
        return tax_data.model(name).requires_grad_(False), images, labels
    weights = folder / "pneumonia.pt"
    if not weights.is_file():
        weights.parent.mkdir(parents=True, exist_ok=True)
        torch.save(pneumonia_net.train().state_dict(), weights)
    return pneumonia_net.load(weights), *tax_data.xray_images(n)


def case(name: str, profile: str, n: int, folder: Path) -> dict[str, Any]:
    """One profile on one net, from its state."""
    eps, k = NETS[name]
    net, images, labels = victim(name, n, folder)
    ball = {"eps": radius(eps), "norm": "Linf"}
    plan = check_plan(ball | {"stages": profile_stages(profile, ball["eps"], "Linf")})
    state = folder / f"{name}-{profile}-{n}"
    began = time.perf_counter(), time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        report = evaluate(net, (images, labels), plan, state=state)
    seconds = time.perf_counter() - began[0], time.process_time() - began[1]
    before = report.provenance["state"]["pieces_before"]
    return {
        "model": name,
        "eps": eps,
        "n_classes": k,
        "profile": profile,
        "n": n,
        "exit_code": ending(report),
        "stages": len(report.stages),
        "failed": {stage.name: stage.error for stage in report.failed},
        "not_applicable": {s.name: s.not_applicable for s in report.not_applicable},
        "undecided": undecided(report),
        "pieces_before": before,
        "seconds": round(report.cost.seconds, 1),  # of all runs on this state
        "seconds_last": round(seconds[0], 1),
        "cpu_seconds_last": round(seconds[1], 1),
        **costs(report, plan, n, k),
    }


def undecided(report: EvaluationReport) -> dict[str, int]:
    """Rows that were not measured as asked, by stage, where there are some."""
    found = {}
    for stage in report.stages:
        status = getattr(stage.result, "status", None)
        count = 0 if status is None else int((status != int(Status.OK)).sum())
        if count:
            found[stage.name] = count
    return found


def costs(report: EvaluationReport, plan: Any, n: int, k: int) -> dict[str, Any]:
    """Row-passes told and spent by stage, the total of stages with an estimate, and their ratio."""
    right = int((report["clean"].result.clean_correct == 1).sum())  # type: ignore
    left = int(report["PGD"].result.robust.sum())  # type: ignore
    seen, usual = Shares(right / n, left / max(right, 1), k), Shares(n_classes=k)
    stages: dict[str, dict[str, Any]] = {}
    for stage, told in zip(build_stages(plan), report.stages):
        if told.result is not None:
            stages[stage.label] = {
                "guessed": expected_passes(stage, n, usual),
                "looked": expected_passes(stage, n, seen),
                "spent": told.cost.forward + told.cost.backward,
                "seconds": round(told.cost.seconds, 2),
            }
    known = [one for one in stages.values() if one["looked"] is not None]
    total = {key: sum(one[key] for one in known) for key in ("guessed", "looked")}
    total |= {"spent": sum(one["spent"] for one in known)}
    ratios = {key: round(total[key] / total["spent"], 3) for key in total}
    return {
        "right": round(seen.right, 4),
        "left": round(seen.left, 4),
        "total": {key: round(value) for key, value in total.items()},
        "told_by_spent": {key: ratios[key] for key in ("guessed", "looked")},
        "no_estimate": [
            label for label, one in stages.items() if one["looked"] is None
        ],
        "by_stage": stages,
    }


def kept() -> dict[tuple[str, str, int], dict[str, Any]]:
    """The cases of the record, by net, profile and number of images."""
    cases = record.read(OUT).get("cases", [])
    return {(one["model"], one["profile"], one["n"]): one for one in cases}


def main() -> None:
    """Run what is not there yet, and write the record after each net."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--state", type=Path, required=True, help="folder of states")
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--profile", default="standard")
    parser.add_argument("--nets", nargs="*", default=list(NETS), choices=list(NETS))
    parser.add_argument("--anew", action="store_true", help="cases that are there too")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for name in asked.nets:
        key = (name, asked.profile, asked.n)
        if key in kept() and not asked.anew:
            continue
        told = case(*key[:2], asked.n, asked.state)
        cases = kept() | {key: told}  # read again: others may have run beside it
        facts = {"question": (__doc__ or "").splitlines()[0], "versions": versions()}
        facts |= {"machine": record.machine() | {"threads": 1}}
        record.write(OUT, facts | {"cases": list(cases.values())})
        brief = {k: v for k, v in told.items() if k != "by_stage"}
        sys.stdout.write(json.dumps(brief, indent=1) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
