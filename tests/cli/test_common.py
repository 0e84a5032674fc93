"""Are numbers read as people write them, and folders refused before any work?"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torchattacks_ext.cli import common
from torchattacks_ext.errors import ConfigError, InputError


@given(st.fractions())
def test_every_fraction_is_read(value: object) -> None:
    assert common.number(str(value), "--eps") == float(value)  # type: ignore[arg-type]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_is_read(value: float) -> None:
    assert common.number(repr(value), "--eps") == value


@given(st.text())
def test_any_text_is_a_finite_number_or_refused(text: str) -> None:
    try:
        assert math.isfinite(common.number(text, "--eps"))
    except ConfigError as error:
        assert "--eps" in str(error) and "8/255" in str(error)


@pytest.mark.parametrize("text", ["", "8/0", "nan", "inf", "1e999", "8/255/2", "x"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--eps .* is not a finite number"):
        common.number(text, "--eps")


def test_an_empty_part_of_a_list_is_refused() -> None:
    assert common.numbers("1/2, 0.25", "--mean") == [0.5, 0.25]
    with pytest.raises(ConfigError, match="empty part"):
        common.words("PGD,,FGSM", "--attacks")


def test_a_folder_is_refused_where_a_file_is(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for path in (file, file / "deeper" / "still"):
        with pytest.raises(InputError, match="file is a file"):
            common.check_folder(path)
        with pytest.raises(InputError, match="cannot be a folder"):
            common.write_files(path, {"a.txt": "a"})
    common.check_folder(tmp_path / "new" / "folder")
    assert not (tmp_path / "new").exists(), "checking creates nothing"


def test_files_are_written_whole_and_nothing_else_is_left(tmp_path: Path) -> None:
    out = tmp_path / "a" / "b"
    common.write_files(out, {"one.txt": "1", "two.txt": "2"})
    common.write_files(out, {"one.txt": "new"})
    found = {path.name: path.read_text() for path in out.iterdir()}
    assert found == {"one.txt": "new", "two.txt": "2"}
    (out / "dir").mkdir()
    with pytest.raises(InputError, match="dir' cannot be written"):
        common.write_files(out, {"dir": "x"})


def test_prints_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with common.clean_stdout():
        print("noise")
    common.show("text")
    assert capsys.readouterr() == ("text\n", "noise\n")


def test_notes_are_for_terminals_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    common.note("training")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    common.note("training")
    assert capsys.readouterr().err == "training\n"
