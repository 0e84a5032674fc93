"""What a first reader of the docs tries: each slip is one clear error, or does what was meant."""

import pytest
import torch
from torch import nn

from torchattacks_ext import MSA
from torchattacks_ext.certify import (
    Ellips,
    EllipsHead,
    LipschitzBound,
    audit,
    bracket,
    foreign_certificates,
)
from torchattacks_ext.errors import BackendError, ConfigError, InputError, StatusError

FEW = {"attacks": ["PGDL2"], "n_random": 1}


@pytest.fixture(scope="module")
def images():
    return torch.linspace(0.05, 0.55, 6).reshape(-1, 1, 1, 1).repeat(1, 1, 2, 2)


@pytest.fixture(scope="module")
def model():
    head = EllipsHead.from_parameters([[0.0] * 4, [0.6] * 4], 1.0)
    return Ellips(nn.Flatten(), head, LipschitzBound(1.0)).eval()


@pytest.fixture(scope="module")
def labels(model, images):
    return model(images).argmax(1)


@pytest.fixture(scope="module")
def table(model, images, labels):
    return model.certify(images, labels, ids=list(range(6)))


def test_an_audit_that_tries_nothing_is_no_pass(model, images, labels):
    with pytest.raises(ConfigError, match="nothing would be tried"):
        audit(model, images, labels, attacks=[], n_random=0)
    assert audit(model, images, labels, attacks=[], n_random=1).sound


def test_an_audit_of_no_images_is_no_pass(model, images, labels):
    with pytest.raises(InputError, match="there are no images"):
        audit(model, images[:0], labels[:0], **FEW)


def test_an_audit_of_no_claims_does_not_say_sound(model, images, labels):
    none = foreign_certificates(
        range(6), [float("nan")] * 6, labels, norm="L2", verifier="v"
    )
    found = audit(model, images, labels, certificates=none, **FEW)
    assert found.n == 0 and str(found).startswith("nothing claimed: 0 certificates")


def test_certificates_in_another_order_are_found_by_their_ids(
    model, images, labels, table
):
    """Radii of other images look broken, though none is."""
    back = list(range(6))[::-1]
    found = audit(
        model, images.flip(0), labels.flip(0), certificates=table, ids=back, **FEW
    )
    assert found.sound
    with pytest.raises(InputError, match="ids are others than those of the certif"):
        audit(model, images, labels, certificates=table, ids=list(range(1, 7)), **FEW)


def test_a_claim_that_is_wrong_at_the_image_itself_is_caught(model, images, labels):
    """No attack has to find it, and no random point."""
    claim = foreign_certificates(
        range(6), [1e-9] * 6, 1 - labels, norm="L2", verifier="v"
    )
    found = audit(
        model,
        images,
        labels,
        certificates=claim,
        attacks={"idle": lambda model, eps: lambda images, labels: images},
        n_random=0,
    )
    assert len(found.broken) == 6 and found.flips[0].length == 0
    assert found.flips[0].attack == "the images themselves"


@pytest.mark.parametrize(
    "attacks, said",
    [
        ("PGDL2", r"one name; give a list: \['PGDL2'\]"),
        (["pgdl2"], r"\['pgdl2'\] are not among"),
        ("instance", "MSA in place of names.*give a dict"),
    ],
)
def test_attacks_given_otherwise_are_told_how(model, images, labels, attacks, said):
    if attacks == "instance":
        attacks = [MSA(model, norm="L2")]
    with pytest.raises(ConfigError, match=said):
        audit(model, images, labels, attacks=attacks)


def test_an_attack_that_raises_is_named(model, images, labels):
    def build(model, eps):
        def attack(images, labels):
            raise ValueError("boom")

        return attack

    with pytest.raises(BackendError, match="attack 'mine': .*ValueError: boom"):
        audit(model, images, labels, attacks={"mine": build})


def test_a_model_that_does_not_certify_needs_certificates(images, labels, table):
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).eval()
    with pytest.raises(ConfigError, match="Sequential does not certify; give certif"):
        audit(net, images, labels, **FEW)
    with pytest.raises(StatusError, match="certificates is Tensor.*foreign_certif"):
        audit(net, images, labels, certificates=table.radius, **FEW)


def test_lines_without_a_change_have_no_ratios(model, images, labels):
    found = audit(model, images, labels, attacks=[], n_random=1)
    assert "nan" not in str(found)


def test_one_table_needs_no_list(model, images, labels, table):
    plan = [{"kind": "apgd", "loss": "ce", "steps": 3}]
    attack = MSA(model, eps=0.1, norm="L2", version="custom", plan=plan)
    seen = attack.measure(images, labels, ids=list(range(6)))
    one = bracket(table, seen, eps=0.1, norm="L2")
    assert one.to_dict() == bracket([table], [seen], eps=0.1, norm="L2").to_dict()
    with pytest.raises(StatusError, match="AttackResult in place of Certificates"):
        bracket(seen, table, eps=0.1, norm="L2")
    with pytest.raises(ConfigError, match="norm='l2' is not one of"):
        bracket(table, seen, eps=0.1, norm="l2")


def test_claims_in_l2_say_what_they_lack_for_linf(images, labels):
    claim = {"norm": "L2", "verifier": "v"}
    bare = foreign_certificates(range(6), [1.0] * 6, labels, **claim)
    with pytest.raises(StatusError, match="n_inputs="):
        bracket(bare, [], eps=0.1, norm="Linf")
    whole = foreign_certificates(range(6), [1.0] * 6, labels, n_inputs=4, **claim)
    found = bracket(whole, [], eps=0.4, norm="Linf")
    assert found.at_least == 1 and "converted from L2" in found.lines[0].status
    with pytest.raises(StatusError, match="only those in L2 can"):
        bracket(whole.converted("Linf"), [], eps=0.4, norm="L2")
