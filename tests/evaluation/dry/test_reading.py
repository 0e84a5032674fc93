"""Does every mistake in a plan file name its line?"""

from __future__ import annotations

from pathlib import Path

import pytest

from torchattacks_ext.errors import ConfigError
from torchattacks_ext.evaluation.dry.reading import check_file
from torchattacks_ext.evaluation.plans.places import read_plan

GOOD = """\
threat_model: cifar10-linf-8
seed: 3
stages:
  - clean
  - {name: PGD, steps: 20}
  - name: prtest
    tolerance: 0.05
budget:
  attack: PGD
"""


def write(tmp_path: Path, *changes: tuple[str, str]) -> Path:
    """The good file with some words replaced."""
    text = GOOD
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "plan.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_right_file_is_a_plan(tmp_path: Path) -> None:
    plan = check_file(read_plan(write(tmp_path)))
    assert (plan.eps, plan.seed, len(plan.stages)) == (8 / 255, 3, 4)
    assert check_file(read_plan(write(tmp_path)), seed=5).seed == 5


@pytest.mark.parametrize(
    ("change", "line", "said"),
    [
        (("seed: 3", "sead: 3"), 2, "'sead' is not a key .*did you mean 'seed'"),
        (("seed: 3", "seed: -1"), 2, "seed=-1"),
        (("- clean", "- 5"), 4, "stages.0=5"),
        (("{name: PGD", "{nme: PGD"), 5, "'stages.1.name' is missing"),
        (("steps: 20", "stps: 20"), 5, "no argument 'stps'; did you mean 'steps'"),
        (("name: PGD", "name: PDG"), 5, "stage 'PDG' is neither.*did you mean 'PGD'"),
        (("tolerance: 0.05", "tolerance: 2"), 7, "tolerance"),
        (("tolerance:", "tolerence:"), 7, "no argument 'tolerence'"),
        (("  attack: PGD", "  attak: PGD"), 9, "no argument 'attak'; did you mean"),
        (("  attack: PGD", "  half_width: 2"), 9, "half_width=2"),
    ],
)
def test_a_mistake_names_its_line(
    change: tuple[str, str], line: int, said: str, tmp_path: Path
) -> None:
    path = write(tmp_path, change)
    with pytest.raises(ConfigError, match=f"plan.yaml.* line {line}: .*{said}"):
        check_file(read_plan(path))


def test_several_mistakes_name_theirs(tmp_path: Path) -> None:
    path = write(tmp_path, ("seed: 3", "sead: 3"), ("- clean", "- 5"))
    with pytest.raises(ConfigError, match="line 2: .*line 4: |line 4: .*line 2: "):
        check_file(read_plan(path))


def test_what_is_wrong_between_stages_is_said(tmp_path: Path) -> None:
    path = write(tmp_path, ("- clean", "- PGD"))
    with pytest.raises(ConfigError, match="two stages are called 'PGD'"):
        check_file(read_plan(path))
