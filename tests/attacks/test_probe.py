"""Does a probe keep its promises where no single call of `check_probe` looks?"""

from __future__ import annotations

import contextlib
import io
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torchattacks
from torch import Tensor, nn

from torchattacks_ext import (
    ConfigError,
    InputError,
    ModelContractError,
    PRTest,
    ReliabilityWarning,
    StateError,
    Verdict,
)
from torchattacks_ext.testing import RateVictim, small_net
from torchattacks_ext.testing.props import example_images

IMAGES = example_images(6)


def labels_of(net: nn.Module, images: Tensor = IMAGES) -> Tensor:
    with torch.no_grad():
        return net.eval()(images).argmax(1)


def quick(model: Any, **options: Any) -> PRTest:
    settings = dict(eps=0.1, n_max=60, significance=0.1, tolerance=0.1) | options
    return PRTest(model, **settings)


@pytest.fixture(scope="module")
def net() -> nn.Module:
    return small_net().eval()


# ---------------------------------------------------------------- kinds of models
class Wrapped(nn.Module):
    """small_net behind another form of output."""

    def __init__(self, form: Any) -> None:
        super().__init__()
        self.net, self.form = small_net().eval(), form

    def forward(self, images: Tensor) -> Any:
        return self.form(self.net(images))


FORMS = {
    "tuple": lambda z: (z, z * 0),
    "dict": lambda z: {"logits": z, "hidden": z * 0},
    "object": lambda z: SimpleNamespace(logits=z),
}


@pytest.mark.parametrize("form", FORMS)
def test_outputs_of_every_form_give_the_same_decisions(
    net: nn.Module, form: str
) -> None:
    y = labels_of(net)
    whole = quick(net).measure(IMAGES, y)
    assert quick(Wrapped(FORMS[form])).measure(IMAGES, y).digest() == whole.digest()


def test_probabilities_when_told(net: nn.Module) -> None:
    y = labels_of(net)
    probs = quick(Wrapped(lambda z: z.softmax(1)), outputs="probs").measure(IMAGES, y)
    assert probs.verdict.tolist() == quick(net).measure(IMAGES, y).verdict.tolist()
    with pytest.warns(ReliabilityWarning, match="looks_like_probs"):
        quick(Wrapped(lambda z: z.softmax(1))).measure(IMAGES, y)


def test_one_logit_is_a_binary_model() -> None:
    net = Wrapped(lambda z: z[:, :1])
    y = (net.net(IMAGES)[:, 0] > 0).long()
    flat = Wrapped(lambda z: z[:, 0])
    two = Wrapped(lambda z: torch.stack([z[:, 0] * 0, z[:, 0]], 1))
    expected = quick(two).measure(IMAGES, y).digest()
    assert quick(net).measure(IMAGES, y).digest() == expected
    assert quick(flat).measure(IMAGES, y).digest() == expected


def test_a_plain_callable_and_a_model_without_parameters(
    net: nn.Module, capsys: pytest.CaptureFixture[str]
) -> None:
    y = labels_of(net)
    expected = quick(net).measure(IMAGES, y).digest()
    assert quick(lambda images: net(images)).measure(IMAGES, y).digest() == expected

    class Bare(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.flatten(1)[:, :3]

    first = IMAGES.flatten(1)[:, :3].argmax(1)
    assert len(quick(Bare()).measure(IMAGES, first)) == len(IMAGES)
    assert quick(Bare())(IMAGES, first).shape == IMAGES.shape
    assert capsys.readouterr().out == ""


def test_data_parallel_is_named_by_what_is_inside(net: nn.Module) -> None:
    probe = quick(nn.DataParallel(net))
    assert probe.model_name == "Sequential"
    y = labels_of(net)
    assert probe.measure(IMAGES, y).digest() == quick(net).measure(IMAGES, y).digest()


def test_a_compiled_model() -> None:
    net = small_net().eval()
    compiled = torch.compile(net, backend="eager")
    y = labels_of(net)
    assert quick(compiled).model_name == "Sequential"
    expected = quick(net).measure(IMAGES, y).digest()
    assert quick(compiled).measure(IMAGES, y).digest() == expected


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_half_bf16_and_double_models(dtype: torch.dtype) -> None:
    net = small_net().eval().to(dtype)
    y = net(IMAGES.to(dtype)).argmax(1)
    probe = quick(net)
    assert probe(IMAGES, y).dtype == torch.float32
    assert probe(IMAGES.to(dtype), y).dtype == dtype
    result = probe.measure(IMAGES, y)
    assert torch.isfinite(result.clean_margin).all()
    seen = []
    net.register_forward_hook(lambda m, i, o: seen.append(o.dtype))
    with torch.no_grad():
        logits = probe.get_logits(IMAGES.to(dtype))
    assert seen == [dtype]
    assert logits.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


@pytest.mark.parametrize("shape", [(12,), (4, 3)])
def test_tabular_and_token_embeddings(shape: tuple[int, ...]) -> None:
    net = small_net(shape).eval()
    images = example_images(5, shape) * 4 - 2
    y = labels_of(net, images)
    result = quick(net, bounds=None).measure(images, y)
    assert (result.clean_correct == 1).all() and (result.n_samples > 0).all()
    assert quick(net, bounds=None)(images, y).shape == images.shape


def test_a_model_moved_after_construction_is_followed() -> None:
    net = small_net().eval()
    y = labels_of(net)
    probe = quick(net)
    net.double()
    assert probe(IMAGES, y).dtype == torch.float32
    assert probe.device == torch.device("cpu")
    net.to("meta")
    assert probe.device == torch.device("meta")


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected a Module or a callable"):
        quick("resnet18")
    with pytest.raises(ModelContractError, match=r"\(6, K\)"):
        quick(lambda images: images).measure(IMAGES, torch.zeros(6))


# ---------------------------------------------------------------- given back
def test_frozen_batchnorm_stays_frozen_but_not_inside_multiattack() -> None:
    net = small_net().train()
    net[1].eval()
    y = labels_of(small_net())
    probe = quick(net)
    for verb in (probe, probe.measure):
        verb(IMAGES, y)
        assert not net[1].training and net.training and net[4].training
    probe.save([(IMAGES, y)], None)
    assert not net[1].training
    multi = torchattacks.MultiAttack([quick(net), quick(net)])
    multi(IMAGES, y)
    assert net[
        1
    ].training  # torchattacks' own loss of the mode: documented, not repaired


def test_rows_leave_the_consumer_its_own_modes() -> None:
    net = small_net().train()
    y = labels_of(small_net())
    seen = []
    for _ in quick(net, batch_size=2).rows(IMAGES, y):
        seen.append(
            (net.training, torch.is_grad_enabled(), torch.is_inference_mode_enabled())
        )
    assert seen and set(seen) == {(True, True, False)}


def test_rows_abandoned_half_way_leave_no_lock() -> None:
    net = small_net().train()
    y = labels_of(small_net())
    next(quick(net, batch_size=1).rows(IMAGES, y))
    assert net.training
    threads = [threading.Thread(target=lambda: quick(net)(IMAGES, y))]
    threads[0].start()
    threads[0].join()


def test_a_second_thread_gets_a_state_error() -> None:
    net, inside, go_on = small_net().eval(), threading.Event(), threading.Event()
    y = labels_of(net)

    def slow(images: Tensor) -> Tensor:
        if threading.current_thread() is worker:
            inside.set()
            go_on.wait(20)
        return net(images)

    probe = quick(slow)
    worker = threading.Thread(target=lambda: probe(IMAGES, y))
    worker.start()
    assert inside.wait(20)
    with pytest.raises(StateError, match="another thread"):
        quick(slow)(IMAGES, y)
    go_on.set()
    worker.join()
    assert probe(IMAGES, y).shape == IMAGES.shape


def test_a_randomised_model_advances_the_generator_by_its_own_draws() -> None:
    net = small_net().eval()

    def noisy(images: Tensor) -> Tensor:
        return net(images) + 0.1 * torch.rand(len(images), 3)

    y = labels_of(net)
    rows = []
    torch.manual_seed(11)
    with pytest.warns(ReliabilityWarning, match="randomised_model"):
        quick(lambda x: rows.append(len(x)) or noisy(x)).measure(IMAGES, y)
    after = torch.get_rng_state()
    torch.manual_seed(11)
    for n in rows:
        torch.rand(n, 3)
    assert torch.equal(after, torch.get_rng_state())


def test_nothing_is_printed(net: nn.Module, capsys: pytest.CaptureFixture[str]) -> None:
    y = labels_of(net)
    probe = quick(net)
    probe.set_mode_targeted_by_label(quiet=False)
    probe.set_mode_targeted_random()
    probe.set_mode_default()
    probe.save([(IMAGES, y)], None, verbose=True)
    probe.measure(IMAGES, y, progress=False)
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err == ""


# ---------------------------------------------------------------- the door
@pytest.mark.parametrize(
    ("images", "words"),
    [
        ((IMAGES * 255).to(torch.uint8), r"images.float\(\) / 255"),
        (IMAGES * 255, "use images / 255"),
        ((IMAGES - 0.5) / 0.25, "call set_normalization_used"),
        (IMAGES * float("nan"), "nan_to_num"),
        ((IMAGES * 9).long(), "integer tokens"),
        (IMAGES[0, 0, 0], "batch dimension"),
    ],
)
def test_images_that_are_refused(net: nn.Module, images: Tensor, words: str) -> None:
    probe, y = quick(net), torch.zeros(len(images), dtype=torch.long)
    for verb in (probe, probe.measure):
        with pytest.raises(InputError, match=words):
            verb(images, y)


@pytest.mark.parametrize("bad", [-1, 3, 1000])
def test_labels_out_of_range_are_refused(net: nn.Module, bad: int) -> None:
    y = labels_of(net).clone()
    y[2] = bad
    for verb in (quick(net), quick(net).measure):
        with pytest.raises(InputError, match=r"3 classes \(0 .. 2\)"):
            verb(IMAGES, y)


@pytest.mark.parametrize("cast", [torch.int32, torch.uint8, torch.float32])
def test_labels_of_other_types_are_cast(net: nn.Module, cast: torch.dtype) -> None:
    y = labels_of(net)
    expected = quick(net).measure(IMAGES, y).digest()
    assert quick(net).measure(IMAGES, y.to(cast)).digest() == expected
    assert torch.equal(quick(net)(IMAGES, y.to(cast)), quick(net)(IMAGES, y))


def test_memory_layout_changes_nothing() -> None:
    net = small_net((3, 8, 8)).eval()
    images = example_images(6, (3, 8, 8))
    y = labels_of(net, images)
    expected, shown = quick(net).measure(images, y), quick(net)(images, y)
    permuted = images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    for other in (permuted, images.contiguous(memory_format=torch.channels_last)):
        assert quick(net).measure(other, y).to_dict()["columns"] == (
            expected.to_dict()["columns"]
        )
        assert torch.equal(quick(net)(other, y), shown)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dict(eps=8), "did you mean 8/255"),
        (dict(eps=-1), "eps=-1"),
        (dict(eps=float("nan")), "eps=nan"),
        (dict(norm="linf"), "is not one of"),
        (dict(batch_size=0), "batch_size=0"),
        (dict(max_queries=-5), "max_queries=-5"),
        (dict(max_seconds=0), "max_seconds=0"),
        (dict(bounds=(1, 0)), "low < high"),
        (dict(outputs="scores"), "outputs='scores'"),
    ],
)
def test_settings_that_are_refused(net: nn.Module, options: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        quick(net, **options).measure(IMAGES, labels_of(net))


def test_labels_beside_a_loader_and_missing_labels(net: nn.Module) -> None:
    y = labels_of(net)
    with pytest.raises(InputError, match="labels= belongs to image tensors"):
        quick(net).measure([(IMAGES, y)], y)
    with pytest.raises(InputError, match="labels are needed"):
        quick(net).measure(IMAGES)
    with pytest.raises(InputError, match="labels are needed"):
        quick(net)(IMAGES)


# ---------------------------------------------------------------- budgets
def test_n_queries_is_what_one_call_costs() -> None:
    calls = []
    net = small_net().eval()
    net.register_forward_hook(lambda m, i, o: calls.append(len(i[0])))
    y = labels_of(small_net())
    for reference, batch_size in (("label", 4), ("label", 256), ("prediction", 5)):
        calls.clear()
        probe = quick(net, n_queries=30, reference=reference, batch_size=batch_size)
        probe(IMAGES, y)
        assert sum(calls) == 30 * len(IMAGES)
    calls.clear()
    quick(net)(IMAGES, y)
    assert sum(calls) == 100 * len(IMAGES)


@pytest.mark.parametrize("limit", [1, 10, 54, 70, 100, 130])
def test_max_queries_is_never_passed(limit: int) -> None:
    net = small_net().eval()  # a fresh one: the look at the model is not cached
    y = labels_of(net)
    with pytest.warns(ReliabilityWarning, match="budget_spent"):
        result = quick(net, max_queries=limit, batch_size=4).measure(IMAGES, y)
    assert result.cost.forward <= limit
    assert len(result) == len(IMAGES) and result.count(Verdict.UNDECIDED) > 0
    assert "budget_spent" in [flag.code for flag in result.flags]


def test_max_seconds_ends_the_run() -> None:
    net = small_net().eval()

    def slow(images: Tensor) -> Tensor:
        time.sleep(0.01)
        return net(images)

    probe = quick(slow, max_seconds=0.3, batch_size=1, n_max=20_000, tolerance=1e-3)
    started = time.monotonic()
    with pytest.warns(ReliabilityWarning, match="budget_spent"):
        result = probe.measure(IMAGES, labels_of(net))
    assert time.monotonic() - started < 20
    assert result.count(Verdict.UNDECIDED) > 0


def test_a_run_cut_by_its_budget_is_gone_on_with_by_resume(net: nn.Module) -> None:
    y = labels_of(net)
    with pytest.warns(ReliabilityWarning):
        cut = quick(net, max_queries=150, batch_size=8).measure(IMAGES, y)
    whole = quick(net).measure(IMAGES, y)
    again = quick(net).measure(IMAGES, y, resume=cut)
    assert again.digest() == whole.digest() != cut.digest()
    assert again.cost.forward >= cut.cost.forward


# ---------------------------------------------------------------- targeted modes
def test_targets_are_never_the_label_and_do_not_depend_on_the_batch(
    net: nn.Module,
) -> None:
    y = labels_of(net)
    probe = quick(net)
    probe.set_mode_targeted_random(quiet=True)
    targets = probe.get_target_label(IMAGES, y)
    assert bool((targets != y).all()) and targets.dtype == torch.int64
    single = [probe.get_target_label(IMAGES[i : i + 1], y[i : i + 1]) for i in range(6)]
    assert torch.equal(targets, torch.cat(single))
    probe.set_mode_targeted_least_likely(quiet=True)
    with torch.no_grad():
        logits = net(IMAGES)
    masked = logits.scatter(1, y[:, None], float("inf"))
    assert torch.equal(probe.get_target_label(IMAGES, y), masked.argmin(1))


@pytest.mark.parametrize("mode", ["random", "least_likely", "by_label", "by_function"])
def test_targeted_failures_are_hits_of_the_target(net: nn.Module, mode: str) -> None:
    y = labels_of(net)
    probe = quick(net, eps=0.5)
    given = y
    if mode == "by_label":
        given = (y + 1) % 3
        probe.set_mode_targeted_by_label(quiet=True)
    elif mode == "by_function":
        probe.set_mode_targeted_by_function(lambda x, labels: (labels + 1) % 3)
    else:
        getattr(probe, f"set_mode_targeted_{mode}")(quiet=True)
    result = probe.measure(IMAGES, given)
    assert result.count(Verdict.MISCLASSIFIED) == 0
    assert (result.clean_correct == -1).all()
    assert bool((result.reference != y).all())
    shown = probe(IMAGES, given)
    with torch.no_grad():
        hit = net(shown).argmax(1) == probe._targets(result.ids, IMAGES, given)
        failing = result.n_failures > 0.5 * result.n_samples
    assert bool(hit[failing].all())


def test_rows_already_at_the_target_are_not_robust(net: nn.Module) -> None:
    y = labels_of(net)
    probe = quick(net)
    probe.set_mode_targeted_by_label(quiet=True)
    result = probe.measure(IMAGES, y)
    assert result.count(Verdict.NOT_ROBUST) == len(IMAGES)
    assert (result.n_samples == 0).all() and (result.clean_correct == -1).all()


# ---------------------------------------------------------------- save
def test_saved_images_are_read_by_torchattacks_and_score_the_same(
    net: nn.Module, tmp_path: Any
) -> None:
    y = labels_of(net)
    path = tmp_path / "saved.pt"
    for save_type in ("float", "int"):
        scores = quick(net, eps=0.2).save(
            [(IMAGES[:4], y[:4]), (IMAGES[4:], y[4:])],
            path,
            return_verbose=True,
            save_predictions=True,
            save_clean_inputs=True,
            save_type=save_type,
        )
        assert scores is not None
        with contextlib.redirect_stdout(io.StringIO()):
            loader = torchattacks.PGD.load(
                str(path), load_predictions=True, load_clean_inputs=True
            )
        found, labels, predictions, clean = next(iter(loader))
        assert torch.equal(labels, y) and torch.allclose(clean, IMAGES, atol=1e-6)
        with torch.no_grad():
            again = net(found).argmax(1)
        assert torch.equal(again, predictions)
        assert scores[0] == pytest.approx(100 * float((again == y).double().mean()))
        assert float((found - clean).abs().max()) <= 0.2 + 1e-5


def test_eight_bit_images_stay_in_a_ball_of_one_step(tmp_path: Any) -> None:
    """torchattacks truncates: a result at eps 1/255 came back 2/255 away."""
    net = small_net().eval()
    y = labels_of(net)
    path = tmp_path / "saved.pt"
    quick(net, eps=1 / 255).save([(IMAGES, y)], path, save_type="int")
    saved = torch.load(path, weights_only=True)["adv_inputs"].int()
    assert int((saved - (IMAGES * 255).round().int()).abs().max()) <= 1


def test_saving_nothing_is_refused(net: nn.Module) -> None:
    with pytest.raises(InputError, match="empty"):
        quick(net).save([], None)
    with pytest.raises(ConfigError, match="save_type"):
        quick(net).save([(IMAGES, labels_of(net))], None, save_type="png")


# ---------------------------------------------------------------- ids and noise
def test_a_zoo_loop_over_two_batches_uses_other_noise_in_each(net: nn.Module) -> None:
    y = labels_of(net)
    probe = quick(net)
    images = torch.full((2, 1, 8, 8), 0.5)
    images[1, 0, 0, 0] = 0.6
    noise = [probe(images[i : i + 1], y[:1]) - images[i : i + 1] for i in range(2)]
    assert float((noise[0] - noise[1]).abs().max()) > 0.01


def test_400_identical_images_do_not_share_noise_and_are_flagged() -> None:
    images, y = torch.full((400, 1, 4, 4), 0.5), torch.zeros(400, dtype=torch.long)
    probe = PRTest(RateVictim(0.3), eps=0.1, n_max=2000)
    with pytest.warns(ReliabilityWarning, match="duplicates"):
        result = probe.measure(images, y)
    assert len(result.ids.unique()) == 400
    assert len(result.worst_margin) == 400 and len(result.n_samples.unique()) > 5
    flag = next(flag for flag in result.flags if flag.code == "duplicates")
    assert flag.count == 399
    first = probe.replay(images, result.ids, torch.zeros(400, dtype=torch.int64))
    assert len(first.flatten(1).unique(dim=0)) == 400


def test_two_halves_of_data_with_repeats_need_ids(net: nn.Module) -> None:
    y = labels_of(net)
    result = quick(net).measure(IMAGES, y)
    with pytest.raises(StateError, match="pass ids="):
        type(result).concat([result, quick(net).measure(IMAGES, y)])
    parts = [
        quick(net).measure(IMAGES, y, ids=[f"{half}-{i}" for i in range(6)])
        for half in "ab"
    ]
    assert len(type(result).concat(parts)) == 12


def test_all_non_finite_is_a_broken_model_and_some_is_a_flag() -> None:
    net = small_net().eval()
    y = labels_of(net)
    with pytest.raises(ModelContractError, match="all 6 images"):
        quick(lambda x: net(x) * float("nan")).measure(IMAGES, y)

    def partly(images: Tensor) -> Tensor:
        marked = (images[:, 0, 0, 0] * 255).round() == (
            IMAGES[0, 0, 0, 0] * 255
        ).round()
        return net(images).masked_fill(marked[:, None], float("nan"))

    with pytest.warns(ReliabilityWarning, match="non_finite"):
        result = quick(partly).measure(IMAGES, y)
    assert result.to_records()[0]["status"] == "non_finite"
    assert result.verdict[0] == int(Verdict.MISCLASSIFIED)
