"""Is the bracket of a report that of its plan's ball, and does a crossing end it?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import torchattacks_ext as tax
from torchattacks_ext.certify import (
    Ellips,
    EllipsHead,
    LipschitzBound,
    bracket,
    read_verdicts,
)
from torchattacks_ext.errors import InputError, StateError
from torchattacks_ext.evaluation.contradictions import contradictions
from torchattacks_ext.evaluation.runs import bracket_run

HEAD = "id,verdict,verifier,seconds\n"


def evaluated(bound: LipschitzBound, norm: str = "L2", **smoothed: Any) -> Any:
    """Two centres on a line of two pixels; labels are the answers."""
    head = EllipsHead.from_parameters([[0.2, 0.5], [0.8, 0.5]], 1.0)
    model = Ellips(nn.Flatten(), head, bound).eval()
    images = torch.stack([torch.linspace(0.1, 0.9, 14), torch.full((14,), 0.5)], dim=1)
    labels = model(images[:, None, None]).argmax(1)
    attack = {"L2": "PGDL2", "Linf": "PGD"}[norm]
    stages: list[Any] = ["certified", {"name": attack, "steps": 20}]
    stages += [{"name": "prtest", "n_max": 800}]
    stages += [{"name": "smoothed", **smoothed}] if smoothed else []
    plan = {"eps": 0.2, "norm": norm, "stages": stages}
    return tax.evaluate(model, (images[:, None, None], labels), plan)


@pytest.fixture(scope="module")
def report() -> Any:
    return evaluated(LipschitzBound(1.0), sigma=0.25, n=200)


@pytest.fixture
def verdicts(tmp_path: Path) -> Callable[[str], Any]:
    def rows(text: str) -> Any:
        path = tmp_path / "verdicts.csv"
        path.write_text(HEAD + text, encoding="utf-8")
        return read_verdicts(path)

    return rows


def test_every_line_is_of_the_plans_ball(report: Any) -> None:
    found = bracket_run(report)
    assert (found.eps, found.norm, found.n) == (0.2, "L2", 14)
    assert 0 < found.at_least <= found.at_most < 1
    sides = {line.name: line.side for line in found.lines}
    assert sides == {
        "Ellips": "at least",
        "RandomizedSmoothing": "smoothed classifier",
        "PGDL2": "at most",
        "PRTest": "random draws",
    }
    again = tax.EvaluationReport.from_json(report.to_json())
    assert bracket_run(again).to_dict() == found.to_dict()


def test_radii_of_another_norm_are_marked_converted() -> None:
    found = bracket_run(evaluated(LipschitzBound(1.0), "Linf"))
    assert found.norm == "Linf" and "converted from L2" in found.lines[0].status
    assert found.at_least <= found.at_most


def test_verdicts_join_by_place_or_by_digits(report: Any, verdicts: Any) -> None:
    digits = f"{int(report['clean'].result.ids[13]) % 2**64:016x}"
    found = bracket_run(report, verdicts(f"0,robust,v 1,2\n{digits},unsat,v 1,3\n"))
    first = found.lines[0]
    assert first.name == "v 1" and first.share == 2 / 14 and first.seconds == 5
    assert "claimed by another tool" in first.status
    with pytest.raises(InputError, match="id '14', which is none of the 14 images"):
        bracket_run(report, verdicts("14,robust,v,1\n"))


def test_a_verdict_that_an_attack_refutes_names_both(
    report: Any, verdicts: Any
) -> None:
    broken = int((report["PGDL2"].result.verdict == 2).nonzero()[0])
    with pytest.raises(StateError, match="by v 1 .*broken there by PGDL2"):
        bracket_run(report, verdicts(f"{broken},robust,v 1,2\n"))
    assert bracket_run(report, verdicts(f"{broken},sat,v 1,2\n")).n == 14


def test_attacks_on_the_model_do_not_contradict_its_smoothed_radii(report: Any) -> None:
    """A change of the model inside a smoothed radius is no flip of the smoothed classifier."""
    stage, attack = report["smoothed"], report["PGDL2"]
    table = replace(stage.result, radius=stage.result.radius * 5)
    inside = attack.result.norm < table.radius[table.find(attack.result.ids)]
    assert bool((inside & (attack.result.verdict == 2)).any())
    assert not list(contradictions([replace(stage, result=table), attack]))
    found = bracket([table], [attack.result], eps=0.2, norm="L2")
    assert found.at_least == 0 and found.lines[0].side == "smoothed classifier"
    proved = replace(table, settings={**table.settings, "tier": "certified"})
    assert list(contradictions([replace(stage, result=proved), attack]))


def test_other_weights_are_refused(report: Any) -> None:
    other = evaluated(LipschitzBound(0.9))
    certified = other["certified"].result
    with pytest.raises(InputError, match="has no attack and no certificates"):
        bracket_run(tax.EvaluationReport("x", report.plan, {}, {}, ()))
    head = EllipsHead.from_parameters([[0.2, 0.5], [0.7, 0.5]], 1.0)
    model = Ellips(nn.Flatten(), head, LipschitzBound(1.0)).eval()
    images = torch.stack([torch.linspace(0.1, 0.9, 14), torch.full((14,), 0.5)], dim=1)
    test = tax.PRTest(model, eps=0.2, norm="L2", n_max=800)
    mine = test.measure(images[:, None, None], certified.reference, ids=certified.ids)
    with pytest.raises(InputError, match="of other weights than the certificates"):
        bracket([certified], [], eps=0.2, norm="L2", tests=[mine])
