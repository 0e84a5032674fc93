"""Are the radii of an evaluation those of `certify`, and are their statuses never mixed?"""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import torchattacks_ext as tax
from torchattacks_ext import ConfigError, EvaluationReport
from torchattacks_ext.certify import Ellips, EllipsHead, Estimate, LipschitzBound
from torchattacks_ext.reports import (
    render_html,
    render_json,
    render_markdown,
    render_text,
)
from torchattacks_ext.results import Certificates

CENTRES = [[0.2, 0.2], [0.8, 0.2], [0.5, 0.9]]


def model(bound: Any = None, **more: Any) -> Ellips:
    """Nearest of three centres in the plane: the radius is the distance to a bisector."""
    head = EllipsHead.from_parameters(CENTRES, 1.0)
    given = LipschitzBound(1.0, source="flattening") if bound is None else bound
    return Ellips(nn.Flatten(), head, given, **more).eval()


def points(n: int = 40) -> tuple[Tensor, Tensor]:
    """Images of two pixels, each sixth with a wrong label."""
    g = torch.Generator().manual_seed(5)
    images = torch.rand(n, 1, 1, 2, generator=g)
    labels = model()(images).argmax(1)
    labels[::6] = (labels[::6] + 1) % 3
    return images, labels


def run(net: Any = None, eps: Any = 0.1, norm: str = "L2", **stage: Any) -> Any:
    plan = {"eps": eps, "norm": norm, "batch_size": 16}
    stages = [{"name": "certified", **stage}]
    return tax.evaluate(
        model() if net is None else net, points(), {**plan, "stages": stages}
    )


def by_hand(images: Tensor) -> Tensor:
    """Distances to the nearest bisector, in float64."""
    x, centres = images.flatten(1).double(), torch.tensor(CENTRES).double()
    order = torch.cdist(x, centres).sort(1)
    own, least = centres[order.indices[:, 0]], torch.full((len(x),), torch.inf).double()
    for k in range(3):
        away = centres[k] - own
        size = away.norm(dim=1)
        gap = ((own + away / 2 - x) * away).sum(1) / size
        least = torch.minimum(least, torch.where(size > 0, gap, torch.inf))
    return least


def test_the_stage_gives_the_radii_of_the_class() -> None:
    """Row for row, at one forward row-pass an image; the radii are known by hand."""
    report, (images, labels) = run(), points()
    result = report["certified"].result
    assert isinstance(result, Certificates)
    own = model().certify(images, labels)
    assert torch.equal(result.radius, own.radius) and torch.equal(result.ids, own.ids)
    assert result.settings == own.settings and result.digest() == own.digest()
    torch.testing.assert_close(result.radius, by_hand(images), rtol=1e-6, atol=1e-7)
    assert (report["certified"].cost.forward, report["certified"].cost.backward) == (
        40,
        0,
    )
    wrong = torch.zeros(40, dtype=torch.bool)
    wrong[::6] = True
    assert not bool(result.certified(0.0)[wrong].any())
    expected = ((by_hand(images) > 0.1) & ~wrong).float().mean()
    assert result.certified_accuracy(0.1).value == pytest.approx(float(expected))


def test_a_report_with_certificates_comes_back_equal() -> None:
    """Through JSON, with the numbers of its summary."""
    report = run(radii=[0.05, "0.1"])
    text = render_json(report)
    again = EvaluationReport.from_json(text)
    assert again["certified"].result.digest() == report["certified"].result.digest()
    assert again["certified"].settings["radii"] == [0.05, 0.1]
    summary = json.loads(text)["summary"]["certified"]
    assert summary["tier"] == "certified" and summary["n"] == 40


def _k(result: Certificates, eps: float) -> str:
    k = int(result.certified(eps).sum())
    return f"({k} of 40)"


def test_every_renderer_tells_the_curve() -> None:
    """The share in the plan's ball, the table by radius, the worth of the number, the picture."""
    report = run(radii=[0.05, 0.3])
    result = report["certified"].result
    for text in (render_text(report), render_markdown(report), render_html(report)):
        plain = " ".join(text.replace("\u00a0", " ").split())
        assert "Certified accuracy by radius: certified" in plain
        for eps in (0.1, 0.05, 0.3):
            assert _k(result, eps) in plain
        assert "flattening" in plain and "It is proved for" in plain
        assert "arXiv:2605.25352" in plain
    page = render_html(report)
    assert page.count('class="curve"') == 1 and page.count('class="dot"') >= 2
    assert "In plain words" in page


def test_a_plan_in_another_norm_gets_converted_radii() -> None:
    """R_inf = R_2 / sqrt(n), said so beside the number."""
    report = run(eps=0.05, norm="Linf")
    result = report["certified"].result
    k = int(result.certified(0.05 * 2**0.5 * (1 + 1e-9)).sum())
    text = render_text(report)
    assert f"({k} of 40)" in text and "converted from L2" in text
    assert result.norm == "L2"


TIERS = [
    (
        LipschitzBound.assume(1.0),
        {},
        "conditional: L assumed",
        "if a number that was assumed",
    ),
    (
        Estimate(1.0, "CLEVER"),
        {"paper_mode": True},
        "reproduction, not a certificate",
        "no proof",
    ),
]


@pytest.mark.parametrize("bound, more, tier, words", TIERS)
def test_what_is_no_certificate_is_not_called_one(
    bound: Any, more: Any, tier: str, words: str
) -> None:
    """In the sentence, the scorecard and the heading; and beside a certificate on its own line."""
    report, sound = run(model(bound, **more)), run()
    text = " ".join(render_text(report, width=200).split())
    assert words in text and f"(certified {tier}" not in text
    assert f"Certified accuracy by radius: certified ({tier})" in text
    assert "It is proved" not in text and f"status: {tier}" in text
    both = render_text([sound, report], width=200)
    lines = [line for line in both.splitlines() if "not run" in line]
    assert len(lines) == 2
    assert any(line.startswith("certified ") and tier not in line for line in lines)
    assert any(line.startswith(f"certified ({tier})") for line in lines)


def test_sharp_scores_are_said_beside_the_radii() -> None:
    """Where the cross entropy has no gradient, attacks that follow it say little."""
    head = EllipsHead.from_parameters(CENTRES, 1e-4)
    sharp = Ellips(nn.Flatten(), head, LipschitzBound(1.0)).eval()
    assert "PGDL2 hardly moves" in " ".join(render_text(run(sharp)).split())
    assert "PGDL2 hardly moves" not in " ".join(render_text(run()).split())


@pytest.mark.parametrize(
    "stage, words",
    [
        ({"radius": [1]}, "radii"),
        ({"radii": 0.5}, "list"),
        ({"radii": []}, "list"),
        ({"radii": [-1]}, "radii"),
        ({"radii": ["wide"]}, "radii"),
        ({"radii": [0.1] * 51}, "list"),
    ],
)
def test_wrong_arguments_are_refused_before_any_pass(stage: Any, words: str) -> None:
    """With the domain."""
    with pytest.raises(ConfigError, match=words):
        run(**stage)


def test_other_models_and_ranges_are_refused_before_any_pass() -> None:
    """A plain network cannot certify; a bound is in units of [0, 1]."""
    calls = []

    class Net(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            calls.append(len(images))
            return images.flatten(1)

    with pytest.raises(ConfigError, match="needs a model that can certify, not a Net"):
        run(Net())
    assert not calls
    plan = {"eps": 0.1, "norm": "L2", "bounds": (0, 2), "stages": ["certified"]}
    with pytest.raises(ConfigError, match="bounds"):
        tax.evaluate(model(), points(), plan)


def test_rows_on_which_the_model_raises_are_failed() -> None:
    """They are certified by nobody, and the others stay."""

    class Odd(nn.Flatten):
        def forward(self, images: Tensor) -> Tensor:
            if bool((images == 0.125).any()):
                raise RuntimeError("an odd pixel")
            return super().forward(images)

    images, labels = points()
    images[19] = 0.125
    net = Ellips(Odd(), EllipsHead.from_parameters(CENTRES, 1.0), LipschitzBound(1.0))
    plan = {"eps": 0.1, "norm": "L2", "batch_size": 8, "stages": ["certified"]}
    with pytest.warns(UserWarning, match="model_raised"):
        report = tax.evaluate(net.eval(), (images, labels), plan)
    result = report["certified"].result
    assert result.answered.tolist() == [True] * 16 + [False] * 8 + [True] * 16
    assert not bool(result.certified(0.0)[16:24].any())
    assert "on which the model or the method raised" in render_text(report)
