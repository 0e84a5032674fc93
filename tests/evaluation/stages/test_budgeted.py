"""Is a sampled attack of an evaluation right, told as a sample, and cheaper than a full run?"""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext import EvaluationReport, evaluate
from torchattacks_ext.errors import ConfigError
from torchattacks_ext.evaluation.plan import check_plan
from torchattacks_ext.evaluation.stages import build_stages
from torchattacks_ext.results.datasets.budgeted import Budgeted

N, EPS = 400, 0.05
CHEAP = {"name": "PGD", "steps": 1, "alpha": 0.6 * EPS, "random_start": False}
FULL = {"name": "BIM", "steps": 3, "alpha": EPS / 2}


class Halves(nn.Module):
    """Class 1 above the threshold: a pixel at distance d from it is broken by eps >= d."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        side = x.flatten(1)[:, 0] - 0.5 + self.bias
        return torch.stack([-side, side], 1)


@pytest.fixture(scope="module")
def data() -> tuple[Tensor, Tensor]:
    """8-bit images (N, 1, 1, 3), all different; nine labels are wrong."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (N, 1, 1, 3), generator=generator) / 255
    labels = (images[:, 0, 0, 0] > 0.5).long()
    labels[:9] = 1 - labels[:9]
    images[:, 0, 0, 2] = torch.arange(N) % 256 / 255  # no copies
    return images, labels


def counts(data: tuple[Tensor, Tensor]) -> tuple[int, int]:
    """Images that the cheap attack leaves, and that the full one would leave of all."""
    images, labels = data
    right = (images[:, 0, 0, 0] > 0.5).long() == labels
    far = (images[:, 0, 0, 0] - 0.5).abs()[right]
    return int((far > 0.6 * EPS).sum()), int((far > EPS).sum())


def run(data: Any, budget: dict[str, Any], **plan: Any) -> EvaluationReport:
    budget = {"attack": FULL, "cheap": CHEAP} | budget
    return evaluate(Halves(), data, {"eps": EPS, "budget": budget, **plan})


@pytest.fixture(scope="module")
def report(data: Any) -> EvaluationReport:
    return run(data, {"half_width": 0.02, "pilot": 30}, batch_size=64)


def result_of(report: EvaluationReport) -> Budgeted:
    found = report["budgeted"].result
    assert isinstance(found, Budgeted), report["budgeted"].error
    return found


def test_the_interval_holds_the_truth_from_a_part_of_the_attacks(
    report: EvaluationReport, data: Any
) -> None:
    left, robust = counts(data)
    found = result_of(report).accuracy()
    assert (found.n, found.wrong, found.survivors) == (N, 9, left)
    assert found.lower <= robust / N <= found.upper
    assert 31 < found.attacked < left and not found.full_run
    assert "not a full run" in found.sentence
    assert found.half_width < 0.03


def test_only_what_is_needed_is_paid(report: EvaluationReport) -> None:
    found, cost = result_of(report).accuracy(), report["budgeted"].cost
    assert cost.backward == (N - 9) + 3 * found.attacked
    judged = (N - 9) + found.attacked
    assert judged <= cost.forward - cost.backward <= judged + 2 * found.attacked


def test_rows_say_what_was_done_to_them(report: EvaluationReport, data: Any) -> None:
    rows, (left, _) = result_of(report), counts(data)
    survived = rows.stratum >= 0
    assert int(survived.sum()) == left
    assert bool((rows.attacked[~survived] == 0).all())
    assert bool((rows.attacked[rows.stratum == 0] == 1).all())
    assert len(set(rows.stratum.tolist())) == 3  # none, known, one that was sampled
    known = rows.margin[rows.stratum == 0]
    assert len(known) >= 30 and known.min() == rows.margin[survived].min()


def test_a_whole_run_is_one_number(data: Any) -> None:
    _, robust = counts(data)
    found = result_of(run(data, {"exhaustive": 1.0})).accuracy()
    assert found.full_run and found.lower == found.upper == robust / N


def test_batches_do_not_matter_and_any_time_holds_too(
    report: EvaluationReport, data: Any
) -> None:
    again = result_of(run(data, {"half_width": 0.02, "pilot": 30}, batch_size=500))
    assert again.digest() == result_of(report).digest()
    _, robust = counts(data)
    later = run(data, {"half_width": 0.03, "method": "anytime", "strata": 2})
    found = result_of(later).accuracy()
    assert found.lower <= robust / N <= found.upper and found.combine == "product"


def test_two_seeds_attack_other_images(report: EvaluationReport, data: Any) -> None:
    other = result_of(run(data, {"half_width": 0.02, "pilot": 30}, seed=1))
    first = result_of(report)
    assert not torch.equal(other.attacked, first.attacked)
    assert torch.equal(other.stratum < 0, first.stratum < 0)


def test_shards_keep_their_strata_apart(data: Any) -> None:
    halves = [
        tuple(side[rows] for side in data) for rows in (slice(200), slice(200, N))
    ]
    parts = [result_of(run(half, {"half_width": 0.03, "pilot": 20})) for half in halves]
    whole = Budgeted.concat(parts)
    assert len(whole.strata) == 3
    found, (_, robust) = whole.accuracy(), counts(data)
    assert found.attacked == sum(part.accuracy().attacked for part in parts)
    assert found.lower <= robust / N <= found.upper


def test_it_stands_in_the_report_and_comes_back(report: EvaluationReport) -> None:
    again = EvaluationReport.from_json(report.to_json())
    assert again.to_dict() == report.to_dict()
    assert result_of(again).accuracy() == result_of(report).accuracy()
    told = json.loads(json.dumps(report.summary()["budgeted"]))
    assert told["full_run"] is False and told["attacked"] < told["survivors"]
    assert report.worst_case() is None  # a sample is no attack on all images


def test_images_beyond_eight_bits_are_kept_as_they_are(data: Any) -> None:
    images, labels = data
    inner = images * 0.999 + 4e-4
    found = result_of(run((inner, labels), {"half_width": 0.02, "pilot": 30}))
    assert found.accuracy().attacked > 31


def test_nothing_left_is_a_whole_run(data: Any) -> None:
    images, labels = data
    found = result_of(run((images, 1 - labels), {}))  # nine are right
    assert found.accuracy().survivors <= 9
    wrong = labels[9:], images[9:]
    none = result_of(run((wrong[1], 1 - wrong[0]), {})).accuracy()
    assert (none.survivors, none.lower, none.upper) == (0, 0.0, 0.0)


def test_a_model_without_one_answer_is_refused(data: Any) -> None:
    class Noisy(Halves):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + torch.rand(len(x), 2)

    with pytest.warns(UserWarning):
        report = evaluate(Noisy(), data, {"eps": EPS, "budget": {"attack": "PGD"}})
    assert "answers at random" in str(report["budgeted"].error)


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        ({"attak": "PGD"}, "no argument 'attak'; did you mean 'attack'"),
        ({"attack": "PDG"}, "did you mean 'PGD'"),
        ({"attack": 5}, "budgeted: attack=5 is neither the name"),
        ({"attack": {"steps": 5}}, "is neither the name of an attack nor a dict"),
        ({"attack": {"name": "PGD", "stps": 5}}, "no argument 'stps'"),
        ({"attack": {"name": "msa", "versoin": "x"}}, "no argument 'versoin'"),
        ({"cheap": "prtest"}, "'prtest' is unknown"),
        ({"cheap": []}, "cheap=.. must name at least one attack"),
        ({"half_width": 2}, "half_width=2"),
        ({"confidence": 1}, "confidence"),
        ({"strata": 3}, "strata=3 needs combine"),
        ({"seed": 5}, "no argument 'seed'"),
    ],
)
def test_wrong_settings_are_refused(budget: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        build_stages(check_plan({"eps": 0.1, "budget": budget}))


def test_msa_and_autoattack_by_name() -> None:
    for attack in ("msa", "autoattack", {"name": "msa", "engine": "own"}):
        plan = check_plan({"eps": 0.1, "budget": {"attack": attack}})
        stage = build_stages(plan)[-1]
        assert stage.settings["attack"]["method"] == "MSA"
        first, then = stage.settings["cheap"]
        assert first == {"name": "PGD", "steps": 20, "alpha": 0.025}
        assert (then["method"], then["engine"], then["version"]) == (
            "MSA",
            "own",
            "fast",
        )
    plan = check_plan({"eps": 0.1, "norm": "L2", "budget": {}})
    assert [one["name"] for one in build_stages(plan)[-1].settings["cheap"]] == [
        "PGDL2"
    ]


def test_a_second_cheap_attack_gets_what_the_first_left(data: Any) -> None:
    whole = {"name": "PGD", "steps": 1, "alpha": EPS, "random_start": False}
    report = run(data, {"cheap": [CHEAP, whole], "exhaustive": 1.0})
    found, (left, robust) = result_of(report).accuracy(), counts(data)
    assert found.survivors == robust and found.lower == found.upper == robust / N
    assert report["budgeted"].cost.backward == (N - 9) + left + 3 * robust
    one = run(data, {"cheap": whole, "exhaustive": 1.0})
    assert torch.equal(result_of(one).verdict, result_of(report).verdict)
    both = result_of(one).stratum >= 0
    assert torch.allclose(result_of(one).margin[both], result_of(report).margin[both])


class Narrow(Halves):
    """Memory for `most` rows with a gradient, after so many row-passes have gone by."""

    def __init__(self, most: int, after: int) -> None:
        super().__init__()
        self.most, self.left = most, after

    def forward(self, x: Tensor) -> Tensor:
        self.left -= len(x)
        if self.left < 0 and x.requires_grad and len(x) > self.most:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return super().forward(x)


@pytest.mark.filterwarnings("ignore::torchattacks_ext.ReliabilityWarning")
def test_short_memory_in_the_full_attack_halves_its_rows(
    report: EvaluationReport, data: Any
) -> None:
    budget = {"attack": FULL, "cheap": CHEAP, "half_width": 0.02, "pilot": 30}
    plan = {"eps": EPS, "budget": budget, "batch_size": 64}
    net = Narrow(5, after=2 * N + 500)  # clean answers and the cheap attack are through
    again = evaluate(net, data, plan)
    assert net.left < 0 and again["budgeted"].error is None
    found = result_of(again)
    assert torch.equal(found.verdict, result_of(report).verdict)
    assert torch.equal(found.attacked, result_of(report).attacked)
    assert "group_cut" in [flag.code for flag in found.flags]
    none = evaluate(Narrow(0, after=2 * N + 500), data, plan)["budgeted"]
    assert "out of memory" in str(none.error)
