"""auto_LiRPA's margins as claims: on a stub of its interface, audited as any other tool's."""

import importlib
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from torchattacks_ext.certify import audit, bracket, lirpa_certificates
from torchattacks_ext.certify.audit.lirpa import clipped_ball
from torchattacks_ext.errors import BackendError, ConfigError, MissingExtra

STUB = Path(__file__).parent / "lirpa_stub"


@pytest.fixture
def stub(monkeypatch):
    monkeypatch.syspath_prepend(str(STUB))
    monkeypatch.delitem(sys.modules, "auto_LiRPA", raising=False)
    yield importlib.import_module("auto_LiRPA")
    sys.modules.pop("auto_LiRPA", None)


@pytest.fixture(scope="module")
def images():
    return torch.rand(16, 1, 2, 2, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def linear():
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).eval().requires_grad_(False)
    net[1].weight.copy_(torch.tensor([[2.0, 0, -1, 0], [0, 2, 0, -1], [-1, 0, 2, 0]]))
    net[1].bias.zero_()
    return net


def distances(net, images, labels, q):
    """To the nearest rival, in the norm whose dual is q; (N,)."""
    scores = net(images)
    weight = net[-1].weight
    found = []
    for row, label in zip(scores, labels.tolist()):
        gaps = row[label] - row
        sizes = (weight[label] - weight).norm(q, dim=1)
        found.append(min(gaps[i] / sizes[i] for i in range(3) if i != label))
    return torch.stack(found)


def test_what_is_proved_is_what_is_true_of_a_linear_net(stub, linear, images):
    labels = linear(images).argmax(1)
    for norm, q in (("L2", 2), ("Linf", 1)):
        far = distances(linear, images, labels, q)
        eps = float(far.median()) * 1.001
        found = lirpa_certificates(linear, images, labels, eps=eps, norm=norm)
        proved = found.certified(eps)
        assert found.tier == "claimed by another tool" and found.closed
        assert "auto_LiRPA 0.7.1 CROWN" == found.settings["certifier"]
        assert 0 < int(proved.sum()) < 16
        assert not bool((proved & (far <= eps)).any())
        # the L2 ball is not cut to [0, 1]; the cut one proves at least as much
        assert bool((proved | (far <= eps * 1.001)).all())
        attacks = ["PGDL2"] if norm == "L2" else ["PGD"]
        seen = audit(linear, images, labels, certificates=found, attacks=attacks)
        assert seen.sound and seen.n == int(proved.sum()) and seen.norm == norm


def test_a_wrong_margin_of_the_tool_is_caught_and_named(
    stub, linear, images, monkeypatch
):
    labels = linear(images).argmax(1)
    monkeypatch.setattr(stub, "LIE", 0.5)
    found = lirpa_certificates(linear, images, labels, eps=0.1)
    seen = audit(linear, images, labels, certificates=found, attacks=["PGD"])
    assert not seen.sound and "BROKEN" in str(seen) and "auto_LiRPA" in seen.claim


def test_nan_margins_prove_nothing(stub, linear, images, monkeypatch):
    monkeypatch.setattr(stub, "LIE", float("nan"))
    found = lirpa_certificates(linear, images, linear(images).argmax(1), eps=1e-6)
    assert found.label.tolist() == [-1] * 16 and not found.certified(1e-6).any()


def test_margins_within_float_slack_prove_nothing(stub, linear, images):
    labels = linear(images).argmax(1)
    asked = {"eps": 1e-7, "norm": "L2"}
    few = lirpa_certificates(linear, images, labels, slack=0.3, **asked)
    all_ = lirpa_certificates(linear, images, labels, **asked)
    assert few.certified(1e-7).sum() < all_.certified(1e-7).sum()


def test_a_wrong_label_is_never_proved_and_the_model_is_given_back(
    stub, linear, images
):
    net = nn.Sequential(*linear, nn.ReLU(), nn.Linear(3, 3)).train()
    wrong = (net(images).argmax(1) + 1) % 3
    found = lirpa_certificates(net, images, wrong, eps=1e-3, batch_size=5)
    assert net.training and net[-1].weight.requires_grad
    assert not found.certified(1e-3).any() and len(found) == 16


def test_the_ball_is_cut_and_rounded_outward(images):
    low, high = clipped_ball(images, 0.3)
    assert low.min() == 0 and high.max() == 1
    inside = (images.double() - 0.3).clamp(0, 1), (images.double() + 0.3).clamp(0, 1)
    assert bool((low.double() <= inside[0]).all() & (high.double() >= inside[1]).all())


def test_lines_of_a_bracket_may_be_its(stub, linear, images):
    from torchattacks_ext import MSA

    labels, ids = linear(images).argmax(1), list(range(16))
    claim = lirpa_certificates(linear, images, labels, eps=0.1, ids=ids)
    plan = [{"kind": "apgd", "loss": "ce", "steps": 5}]
    attack = MSA(linear, eps=0.1, version="custom", plan=plan)
    seen = attack.measure(images, labels, ids=ids)
    found = bracket([claim], [seen], eps=0.1, norm="Linf")
    assert found.lines[0].name.startswith("auto_LiRPA")
    assert 0 < found.at_least <= found.at_most


def test_a_missing_or_an_old_tool_is_one_clear_error(
    stub, linear, images, monkeypatch, tmp_path
):
    labels = linear(images).argmax(1)
    monkeypatch.setattr(stub, "__version__", "0.3.1")
    with pytest.raises(BackendError, match="0.3.1 is older than 0.7.*pip install git"):
        lirpa_certificates(linear, images, labels, eps=0.1)
    monkeypatch.setattr(stub, "__version__", "0.10")
    lirpa_certificates(linear, images, labels, eps=0.1)
    with pytest.raises(BackendError, match="'nothing'|nothing.* does not bound"):
        lirpa_certificates(linear, images, labels, eps=0.1, method="nothing")
    with pytest.raises(ConfigError, match="eps > 0 in one of"):
        lirpa_certificates(linear, images, labels, eps=0.1, norm="L1")
    with pytest.raises(ConfigError, match="a torch Module only"):
        lirpa_certificates(lambda x: x, images, labels, eps=0.1)
    broken = tmp_path / "auto_LiRPA"
    broken.mkdir()
    (broken / "__init__.py").write_text("raise AttributeError('numpy.lib.arraysetops')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "auto_LiRPA")
    with pytest.raises(BackendError, match="cannot be imported.*arraysetops"):
        lirpa_certificates(linear, images, labels, eps=0.1)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="not installed.*pip install git"):
        lirpa_certificates(linear, images, labels, eps=0.1)
