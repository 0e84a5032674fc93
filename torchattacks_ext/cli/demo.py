"""What does robustness look like in a minute? Two small nets, trained and compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError
from . import common

if TYPE_CHECKING:
    from ..data.named import NamedData
    from ..results.evaluation import EvaluationReport


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the reports.")] = Path(
        "torchattacks_ext_demo"
    ),
    n: Annotated[int, typer.Option(help="Images to measure, at most 445.")] = 100,
    seed: Annotated[int, typer.Option(help="Of training and measuring.")] = 0,
) -> int:
    """Compare two nets, trained on the spot.

    A standard and an adversarially trained one, on the digits of scikit-learn; no
    network, no GPU. Writes report.html, report.md,
    standard.json and adversarial.json. Exit 1 if a stage failed.
    """
    if seed < 0:
        raise ConfigError(f"--seed {seed} must be >= 0")
    common.check_folder(out)
    with common.clean_stdout():
        reports = demo_reports(n, seed)
        text = _write(reports, out)
    common.show(text)
    common.show(f"\nWritten: {', '.join(str(out / name) for name in FILES)}")
    return 1 if any(report.failed for report in reports) else 0


FILES = ("report.html", "report.md", "standard.json", "adversarial.json")


def demo_plan(seed: int = 0) -> dict[str, Any]:
    """Clean, two gradient attacks, a minimum-norm one, one by queries, PRTest."""
    from ..evaluation.demo import EPS

    return {
        "eps": EPS,
        "norm": "Linf",
        "seed": seed,
        "stages": [
            {"name": "clean"},
            {"name": "FGSM"},
            {"name": "PGD", "steps": 20, "alpha": EPS / 8},
            {"name": "DeepFool", "steps": 20},
            {"name": "Square", "n_queries": 200},
            {
                "name": "prtest",
                "tolerance": 0.01,
                "significance": 1e-3,
                "n_max": 20000,
                "n_mean": 16,
            },
        ],
    }


def demo_reports(n: int, seed: int) -> list[EvaluationReport]:
    """Train and measure both nets on at most n test images; small, so on one thread."""
    from ..data.digits import load_digits
    from ..data.named import load_data
    from ..evaluation.demo import KINDS, one_thread, train_demo

    data, training = load_data("digits", n), load_digits("train")
    reports = []
    with one_thread():
        for kind in KINDS:
            common.note(f"training the {kind} net ...")
            net = train_demo(kind, *training, seed=seed)
            common.note(f"measuring the {kind} net ...")
            reports.append(_measure(net, kind, data, demo_plan(seed)))
    return reports


def _measure(
    net: Any, name: str, data: NamedData, plan: dict[str, Any]
) -> EvaluationReport:
    from ..evaluation.runner import evaluate

    loader = data.loader(batch_size=256)
    report = evaluate(net, loader, plan, name=name, progress=True)
    return replace(report, data={**data.facts(), **report.data})


def _write(reports: list[EvaluationReport], out: Path) -> str:
    """Write the files and return the text that is to be printed."""
    from ..reports import render_html, render_json, render_markdown, render_text

    texts = {
        "report.html": render_html(
            reports, "torchattacks_ext demo: two nets on digits"
        ),
        "report.md": render_markdown(reports),
        "standard.json": render_json(reports[0]),
        "adversarial.json": render_json(reports[1]),
    }
    common.write_files(out, texts)
    return render_text(reports)
