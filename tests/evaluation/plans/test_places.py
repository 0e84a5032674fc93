"""Does a plan file keep what it says, and the line of each key?"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from torchattacks_ext.errors import InputError
from torchattacks_ext.evaluation.plans.places import Places, read_plan

FILE = {
    "eps": "8/255",
    "norm": "L2",
    "stages": ["clean", {"name": "BIM", "steps": 3, "label": "mine"}],
}
TEXT = """\
# a comment
eps: 8/255

stages:
  - clean
  - name: PGD
    steps: 20
  - {name: BIM,
     steps: 3}
budget:
  attack: PGD
"""


@pytest.mark.parametrize("suffix", [".json", ".yaml", ".yml"])
def test_a_plan_is_read_from_a_file(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"plan{suffix}"
    path.write_text(json.dumps(FILE, indent=1), encoding="utf-8")  # JSON is YAML too
    found = read_plan(path)
    assert found == FILE
    assert found.places.line(("norm",)) == 3


def test_every_key_has_its_line(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(TEXT, encoding="utf-8")
    places = read_plan(path).places
    for steps, line in (
        (("eps",), 2),
        (("stages",), 4),
        (("stages", 0), 5),
        (("stages", 1, "steps"), 7),
        (("stages", 2, "steps"), 9),
        (("stages", 2, "none"), 8),  # what holds it
        (("none",), None),
    ):
        assert places.line(steps) == line, steps
    assert places.of_stage(1, "PGD takes no argument 'steps'") == 7
    assert places.of_stage(1, "steps=0: PGD needs more") == 7
    assert places.of_stage(1, "another complaint about 'name'") == 6
    assert places.of_stage(3, "attack='PGD' is odd") == 11  # the key `budget`


def test_a_file_of_one_line_is_enough() -> None:
    assert Places("p", {}).line(("eps",)) is None


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.json", "{", "is not JSON"),
        ("a.json", "[" * 100_000, "is not JSON"),
        ("a.yaml", "a: [", "is not YAML"),
        ("a.yaml", "- clean", "holds a list, expected keys like eps"),
        ("a.yaml", "", "holds nothing"),
        ("a.yaml", "a: !!python/object/apply:os.getcwd []", "is not YAML"),
        ("a.yaml", "\x00", "is not YAML"),
        ("a.yaml", "a: 1\nb: 2\na: 3", "'a' stands in line 1 and again in line 3"),
        ("a.yaml", "a: 1\n---\na: 3", "is not YAML"),
    ],
)
def test_a_file_that_is_no_plan_is_refused(
    name: str, text: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=said):
        read_plan(tmp_path / name)


def test_a_file_that_holds_itself_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: &x\n  b: *x\n", encoding="utf-8")
    assert read_plan(path).places.line(("a", "b")) == 2


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none.yaml cannot be read"):
        read_plan(tmp_path / "none.yaml")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(InputError, match="bytes.json cannot be read"):
        read_plan(tmp_path / "bytes.json")
