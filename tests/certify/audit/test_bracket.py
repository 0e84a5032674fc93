"""The bracket: certified <= robust <= attacked, crossings are errors, balls are shared."""

import pytest
import torch
from torch import nn

from torchattacks_ext import MSA, PRTest
from torchattacks_ext.certify import (
    Ellips,
    EllipsHead,
    LipschitzBound,
    bracket,
    foreign_certificates,
)
from torchattacks_ext.errors import InputError, StateError

EPS = 0.15


@pytest.fixture(scope="module")
def model():
    head = EllipsHead.from_parameters([[0.0] * 4, [0.6] * 4], 1.0)
    return Ellips(nn.Flatten(), head, LipschitzBound(1.0)).eval()


@pytest.fixture(scope="module")
def images():
    return torch.linspace(0.05, 0.8, 12).reshape(-1, 1, 1, 1).repeat(1, 1, 2, 2)


def msa(model, eps, norm):
    plan = [{"kind": "apgd", "loss": "ce", "steps": 10}]
    return MSA(model, eps=eps, norm=norm, version="custom", plan=plan)


@pytest.fixture(scope="module")
def parts(model, images):
    ids, labels = list(range(12)), (images[:, 0, 0, 0] > 0.3).long()
    attack = msa(model, EPS, "L2")
    test = PRTest(model, eps=EPS, norm="L2", n_max=1000)
    return (
        model.certify(images, labels, ids=ids),
        attack.measure(images, labels, ids=ids),
        test.measure(images, labels, ids=ids),
    )


def test_certified_is_at_most_attacked(parts):
    found = bracket([parts[0]], [parts[1]], eps=EPS, norm="L2", tests=[parts[2]])
    assert 0 < found.at_least <= found.at_most < 1
    assert found.open == round((found.at_most - found.at_least) * 12)
    assert [line.side for line in found.lines] == [
        "at least",
        "at most",
        "random draws",
    ]
    assert found.lines[0].forward == 12 and "robust share in" in str(found)
    assert found.to_dict()["n"] == 12


def test_a_planted_crossing_names_both_sides(parts, images):
    broken = parts[1].verdict == 2
    claim = foreign_certificates(
        list(range(12)),
        [1.0] * 12,
        parts[1].reference,
        norm="L2",
        verifier="someone 1.0",
    )
    with pytest.raises(StateError, match="someone 1.0 .* broken there by MSA"):
        bracket([parts[0], claim], [parts[1]], eps=EPS, norm="L2")
    assert bool(broken.any())


def test_converted_lines_say_so(parts, model, images):
    ids, labels = list(range(12)), parts[1].reference
    linf = msa(model, EPS / 2, "Linf").measure(images, labels, ids=ids)
    found = bracket([parts[0]], [linf], eps=EPS / 2, norm="Linf")
    assert "converted" in found.lines[0].status


def test_other_balls_and_other_images_are_refused(parts, model, images):
    with pytest.raises(InputError, match="all lines share one ball"):
        bracket([parts[0]], [parts[1]], eps=0.2, norm="L2")
    other = model.certify(images[:3], [0, 0, 0], ids=[1, 2, 3])
    with pytest.raises(InputError, match="other images"):
        bracket([parts[0], other], [parts[1]], eps=EPS, norm="L2")
    wide = PRTest(
        model, eps=EPS, norm="L2", sampler={"name": "gaussian", "sigma": 0.1}, n_max=800
    )
    drawn = wide.measure(images, parts[1].reference, ids=list(range(12)))
    with pytest.raises(InputError, match="'gaussian', whose changes leave the ball"):
        bracket([parts[0]], [parts[1]], eps=EPS, norm="L2", tests=[drawn])
    with pytest.raises(InputError, match="nothing to bracket"):
        bracket([], [], eps=EPS, norm="L2")


def claimed(parts, rows, who="someone 1.0"):
    radius = torch.where(rows, 1.0, float("nan"))
    given = list(range(12)), radius, parts[1].reference
    return foreign_certificates(*given, norm="L2", verifier=who)


def test_a_claim_is_not_told_as_proof(parts):
    """What somebody claims beyond what is proved stands apart in the first line, with its name."""
    own = parts[0].certified(EPS)
    found = bracket([claimed(parts, own)], [parts[1]], eps=EPS, norm="L2")
    assert found.rests_on == ("someone 1.0 (claimed by another tool)",)
    assert found.without == 0 < found.at_least == own.double().mean()
    first = str(found).splitlines()[0]
    assert "robust share in [0.0000, " in first and "someone 1.0" in first
    same = bracket([parts[0], claimed(parts, own)], [parts[1]], eps=EPS, norm="L2")
    assert same.rests_on == () and same.without == same.at_least


def test_a_crossing_is_found_behind_another_table_of_the_same_name(parts):
    wrong = claimed(parts, parts[1].verdict == 2)
    right = claimed(parts, parts[0].certified(EPS))
    for tables in ([wrong, right], [right, wrong]):
        with pytest.raises(StateError, match="broken there by MSA"):
            bracket(tables, [parts[1]], eps=EPS, norm="L2")
