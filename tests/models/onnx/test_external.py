"""Is every file found that an ONNX file refers to, and none opened that lies outside its folder?"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from torchattacks_ext.errors import InputError
from torchattacks_ext.models.onnx.external import external_files

from .wire import field, graph, model, tensor, whole


def places(name: str) -> dict[str, bytes]:
    """A tensor in a file called `name`, wherever the format allows one."""
    far = tensor(name)
    node = field(
        1, field(4, b"Constant") + field(5, field(1, b"value") + field(5, far))
    )
    inner = field(1, field(5, field(6, graph(field(5, far)))))
    return {
        "initializer": model(graph(field(5, tensor()), field(5, far))),
        "sparse": model(graph(field(15, field(1, far)))),
        "constant": model(graph(node)),
        "tensors": model(graph(field(1, field(5, field(10, far))))),
        "branch": model(graph(inner)),
        "function": model(graph()) + field(25, field(7, field(5, field(5, far)))),
        "training": model(graph()) + field(20, field(1, graph(field(5, far)))),
    }


@pytest.mark.parametrize("place", places("x"))
def test_a_file_is_found_wherever_it_is_named(place: str, tmp_path: Path) -> None:
    path, beside = tmp_path / "net.onnx", tmp_path / "sub" / "w.data"
    beside.parent.mkdir()
    beside.write_bytes(b"\0" * 12)
    path.write_bytes(places("sub/w.data")[place])
    assert external_files(path) == (beside.resolve(),)
    path.write_bytes(places("../w.data")[place])
    with pytest.raises(InputError, match="leads out of its folder: it is not opened"):
        external_files(path)


@pytest.mark.parametrize(
    "name", ["../w", "a/../../w", "/etc/passwd", "C:\\w", "\\\\host\\w", "", "."]
)
def test_names_that_lead_elsewhere_are_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(b"")
    path = tmp_path / "in" / "net.onnx"
    path.parent.mkdir()
    path.write_bytes(model(graph(field(5, tensor(name)))))
    with pytest.raises(InputError, match="leads out of its folder"):
        external_files(path)


def test_a_link_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"\0" * 12)
    path = tmp_path / "in" / "net.onnx"
    path.parent.mkdir()
    try:
        (path.parent / "w").symlink_to(secret)
    except OSError:
        pytest.skip("no links here")
    path.write_bytes(model(graph(field(5, tensor("w")))))
    with pytest.raises(InputError, match="leads out of its folder"):
        external_files(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(model(graph(field(5, tensor("net.onnx.data")))))
    with pytest.raises(InputError, match="no such file beside it: copy both"):
        external_files(path)


def test_a_file_with_its_weights_inside_refers_to_none(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(model(graph(field(5, tensor()))))
    assert external_files(path) == ()


@settings(max_examples=60)
@given(st.binary(min_size=1, max_size=80), st.integers(0, 200))
def test_damaged_files_are_refused_or_harmless(
    tmp: Path, junk: bytes, cut: int
) -> None:
    good = model(graph(field(5, tensor("../../secret")), field(5, tensor())))
    for content in (junk, good[:cut] + junk):
        path = tmp / "net.onnx"
        path.write_bytes(content)
        try:
            assert external_files(path) == ()
        except InputError as error:
            assert str(path) in str(error)


@pytest.fixture(scope="module")
def tmp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that lives long enough for Hypothesis."""
    return tmp_path_factory.mktemp("onnx")


def test_graphs_within_graphs_end(tmp_path: Path) -> None:
    deep = graph(field(5, tensor("w")))
    for _ in range(80):
        deep = graph(field(1, field(5, field(6, deep))))
    path = tmp_path / "net.onnx"
    path.write_bytes(model(deep))
    with pytest.raises(InputError, match="nested too deeply"):
        external_files(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\x0a\x7fab", "breaks off"),
        (whole(1, 1) + b"\x3b", "kind 3"),
    ],
)
def test_what_is_no_onnx_is_said(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with pytest.raises(InputError, match=said):
        external_files(path)
    with pytest.raises(InputError, match="nowhere.onnx is not a file"):
        external_files(tmp_path / "nowhere.onnx")
