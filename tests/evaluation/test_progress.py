"""Does a person who waits see which stage is at work, how far it is, and what it broke?"""

from __future__ import annotations

import io

import torch
from tqdm import tqdm

from torchattacks_ext import AttackResult, Verdict
from torchattacks_ext.evaluation.plan import check_plan
from torchattacks_ext.evaluation.progress import Live, live
from torchattacks_ext.evaluation.rows.pieces import Piece
from torchattacks_ext.evaluation.running import Running
from torchattacks_ext.evaluation.stages import build_stages


def attacked(n: int, broken: int) -> AttackResult:
    verdict = torch.full((n,), int(Verdict.UNDECIDED), dtype=torch.int8)
    verdict[:broken] = int(Verdict.NOT_ROBUST)
    zero, number = torch.zeros(n, dtype=torch.int8), torch.zeros(n, dtype=torch.float64)
    return AttackResult(
        ids=torch.arange(n),
        verdict=verdict,
        status=zero,
        reference=torch.zeros(n, dtype=torch.int64),
        clean_correct=zero + 1,
        prediction=torch.zeros(n, dtype=torch.int64),
        margin=number,
        clean_margin=number,
        norm=number,
        found_norm=number,
    )


def test_the_line_names_stage_rows_and_what_is_broken() -> None:
    _, stage = build_stages(check_plan({"eps": 0.1, "stages": ["FGSM"]}))
    run, said = Running(stage), io.StringIO()
    run.parts.append(Piece(0, 8, attacked(8, 3)))
    bar = tqdm(total=20, unit="row", file=said, mininterval=0, ascii=True)
    Live(bar).told(run, 8)
    bar.close()
    line = said.getvalue().rsplit("\r", maxsplit=1)[-1]
    assert line.startswith("FGSM:") and " 8/20 [" in line and "3 broken" in line


def test_nothing_is_drawn_for_a_program() -> None:
    with live(10, [], show=False) as line:
        _, stage = build_stages(check_plan({"eps": 0.1, "stages": ["FGSM"]}))
        line.told(Running(stage), 3)  # no error, no line
