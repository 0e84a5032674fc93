"""Verdicts of an external verifier: every line of its CSV is read, or is one clear error."""

import pytest
import torch

from torchattacks_ext.certify import read_verdicts, verdict_certificates
from torchattacks_ext.errors import InputError

HEAD = "id,verdict,verifier,seconds\n"


@pytest.fixture
def written(tmp_path):
    def write(text, head=HEAD):
        path = tmp_path / "verdicts.csv"
        path.write_text(head + text, encoding="utf-8")
        return path

    return write


def test_rows_are_read_as_they_stand(written):
    rows = read_verdicts(written("7, Robust ,a,1.5\n8,unknown,,\n7,robust,a,2\n"))
    assert [row["id"] for row in rows] == ["7", "8"]
    assert [row["proved"] for row in rows] == [True, False]
    assert rows[0]["seconds"] == 1.5 and rows[1]["seconds"] != rows[1]["seconds"]
    assert [row["verifier"] for row in rows] == ["a", "unknown"]
    assert read_verdicts(written("1,sat\n", "id,verdict\n"))[0]["proved"] is False


@pytest.mark.parametrize(
    "text, said",
    [
        ("1,robust\n", "line 2: it has fewer columns"),
        ("1,robust,a,1,extra\n", "line 2: it has more columns"),
        ("1,robust,a,1\n ,robust,a,1\n", "line 3: 'id' is missing"),
        ("1,,a,1\n", "line 2: 'verdict' is missing"),
        ("1,robsut,a,1\n", "line 2: verdict 'robsut' is none of robust"),
        ("1,robust,a,nan\n", "line 2: seconds 'nan' is not a finite number"),
        ("1,robust,a,-1\n", "seconds '-1' is not"),
        ("1,robust,a,soon\n", "seconds 'soon' is not"),
        (
            "1,robust,a,1\n2,sat,a,1\n1,falsified,b,1\n",
            "line 4: id '1' is 'falsified' here and 'robust' in line 2",
        ),
        ("", "has no rows"),
        ('1,"robust,a,1\n', "is no CSV file"),
    ],
)
def test_a_malformed_line_is_one_clear_error(written, text, said):
    with pytest.raises(InputError, match=said):
        read_verdicts(written(text))


def test_a_head_without_ids_is_named(written):
    with pytest.raises(InputError, match="no column 'id'"):
        read_verdicts(written("1,robust\n", "image,verdict\n"))


def test_a_binary_file_is_no_csv(tmp_path):
    path = tmp_path / "verdicts.csv"
    path.write_bytes(b"\xff\xfe\x00id")
    with pytest.raises(InputError, match="is no CSV file"):
        read_verdicts(path)


def test_ids_of_the_file_meet_the_ids_of_a_measurement(written):
    """Text of a file and numbers of `ids=` are the same images, whatever the order."""
    rows = read_verdicts(written("12,robust,v,1\n10,falsified,v,2\n"))
    found = verdict_certificates(rows, [5, 6, 7], 0.1, norm="Linf", ids=[10, 11, 12])
    assert found.ids.tolist() == [10, 11, 12] and found.label.tolist() == [-1, -1, 7]
    assert found.cost.seconds == 3 and found.settings["certifier"] == "v"
    named = read_verdicts(written("000000000000000c,robust,v,1\n"))
    hexed = verdict_certificates(named, [5, 6, 7], 0.1, norm="Linf", ids=[10, 11, 12])
    assert hexed.label.tolist() == [-1, -1, 7]


def test_a_verdict_at_eps_is_certified_at_eps(written):
    """A verifier proves the closed ball: the radius that was asked for counts."""
    rows = read_verdicts(written("a,robust,v,1\n"))
    found = verdict_certificates(rows, [1], 8 / 255, norm="Linf")
    assert found.certified(8 / 255).tolist() == [True]
    assert found.certified(8 / 255 + 1e-9).tolist() == [False]
    assert found.certified(1 / 255).tolist() == [True]


def test_an_unknown_id_is_named(written):
    rows = read_verdicts(written("13,robust,v,1\n"))
    with pytest.raises(InputError, match="id '13', which is none of the 3 images"):
        verdict_certificates(rows, [5, 6, 7], 0.1, norm="Linf", ids=[10, 11, 12])


@pytest.mark.parametrize(
    "labels, eps, said",
    [
        ([1, 2], 0.1, "2 labels and 1 radii for 1 images"),
        ([1], [0.1, 0.2], "1 labels and 2 radii"),
        ([1], float("nan"), "must be > 0 and finite"),
        ([1], 0, "must be > 0 and finite"),
    ],
)
def test_labels_and_radii_that_do_not_fit_are_refused(written, labels, eps, said):
    rows = read_verdicts(written("1,robust,v,1\n"))
    with pytest.raises(InputError, match=said):
        verdict_certificates(rows, torch.tensor(labels), eps, norm="Linf")
