"""Do claims of other tools come in as they were meant, or not at all?"""

from __future__ import annotations

import pytest

from torchattacks_ext.certify import foreign_certificates
from torchattacks_ext.certify.audit import verdict_certificates
from torchattacks_ext.errors import InputError


@pytest.mark.parametrize(
    ("radius", "labels", "said"),
    [
        (["a", "b"], [1, 2], "radii \\['a', 'b'\\] are no numbers"),
        ([0.1, 0.2], [1.5, 2], "fractions"),
        ([0.1, 0.2], ["one", "two"], "labels are list"),
    ],
)
def test_radii_and_labels_that_are_no_numbers_are_no_traceback_and_no_other_claim(
    radius, labels, said
):
    with pytest.raises(InputError, match=said):
        foreign_certificates([1, 2], radius, labels, norm="L2", verifier="v")


def test_a_radius_of_verdicts_may_be_written_as_a_fraction():
    rows = [{"id": "0", "verdict": "robust", "proved": True}]
    found = verdict_certificates(rows, [3], "8/255", norm="Linf", ids=[0])
    assert found.radius.tolist() == [8 / 255]


def test_two_verdicts_of_one_image_by_two_names_are_refused():
    first = {"id": "0", "verdict": "robust", "proved": True}
    same = first | {"id": f"{0:016x}"}
    other = same | {"verdict": "falsified", "proved": False}
    found = verdict_certificates([first, same], [3], 0.1, norm="Linf", ids=[0])
    assert found.certified(0.1).tolist() == [True]
    for rows in ([first, other], [other, first]):
        with pytest.raises(InputError, match="one image with two verdicts"):
            verdict_certificates(rows, [3], 0.1, norm="Linf", ids=[0])
