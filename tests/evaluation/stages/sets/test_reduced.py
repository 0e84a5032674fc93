"""Are set stages reduced once, inside the model's session, and does one that raises end alone?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext import EvaluationReport
from torchattacks_ext.data.stream import Batch
from torchattacks_ext.evaluation import stages
from torchattacks_ext.evaluation.stages import CleanStage, SetStage, Shared, StageRows
from torchattacks_ext.evaluation.stages.base import Whole
from torchattacks_ext.results import Result

Run = Callable[..., EvaluationReport]


class Counts(SetStage):
    """Clean rows; the reduction asks the model again, or raises."""

    kind = "counts"
    seen: list[Any] = []
    trouble: Exception | None = None

    def rows(self, batch: Batch, shared: Shared) -> StageRows:
        assert not shared.logits(batch).requires_grad
        return CleanStage("clean", self.plan, {}).rows(batch, shared)

    def reduce(self, features: Result, whole: Whole) -> Result:
        assert not whole.view.model.training  # a session is open
        Counts.seen.append((len(features), [len(batch) for batch in whole.again()]))
        if Counts.trouble is not None:
            raise Counts.trouble
        with torch.no_grad():
            for batch in whole.again():
                whole.view(batch.images)
        return features


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> type[Counts]:
    monkeypatch.setitem(stages.STAGES, "counts", Counts)
    Counts.seen, Counts.trouble = [], None
    return Counts


def test_it_is_reduced_once_over_all_rows(
    run: Run, counts: type[Counts], waves: Any, images: Tensor, labels: Tensor
) -> None:
    net: nn.Module = waves().train()
    report = run(net, (images, labels), "counts", batch_size=8)
    assert counts.seen == [(30, [8, 8, 8, 6])]
    assert net.training
    assert report["counts"].cost.forward == 60  # the logits, and those asked for again
    assert report["counts"].result is not None
    assert report["counts"].result.cost == report["counts"].cost
    assert report.data["n"] == 30


def test_rows_on_which_the_model_raised_stay_rows(
    run: Run, waves: Any, images: Tensor, labels: Tensor
) -> None:
    class Shy(waves):  # type: ignore[misc]
        def forward(self, x: Tensor) -> Tensor:
            if bool((x[:, 0, 0, 0] == shown).any()):
                raise ValueError("not this one")
            answer: Tensor = super().forward(x)
            return answer

    shown = images[17, 0, 0, 0]
    other = {"name": "shift", "other": (images[:8], labels[:8]), "paired": "no"}
    stages = [{"name": "ood", "scores": ["energy"]}, other, "data-audit"]
    with pytest.warns(match="model_raised"):
        report = run(Shy(), (images, labels), *stages, batch_size=8)
    for name in ("ood", "shift", "data-audit"):
        result: Any = report[name].result
        assert result is not None, report[name].error
        assert torch.nonzero(result.status)[:, 0].tolist() == list(range(16, 24))
    assert report["ood"].result.energy.isnan().sum() == 8  # type: ignore[union-attr]
    assert report["shift"].result.summary()["other_n"] == 8  # type: ignore[union-attr]
    assert report["data-audit"].result.repeats.eq(0).all()  # type: ignore[union-attr]
    assert type(report).from_json(report.to_json()).to_json() == report.to_json()


@pytest.mark.parametrize(
    ("trouble", "said"),
    [(ValueError("x"), "ValueError: x"), (stages.ConfigError("mine"), "mine")],
)
def test_one_that_raises_has_no_result(
    run: Run,
    counts: type[Counts],
    wave_net: nn.Module,
    images: Tensor,
    labels: Tensor,
    trouble: Exception,
    said: str,
) -> None:
    counts.trouble = trouble
    report = run(wave_net, (images, labels), "counts", "FGSM")
    assert (report["counts"].result, report["counts"].error) == (None, said)
    assert [stage.name for stage in report.failed] == ["counts"]
    assert report["FGSM"].result is not None
