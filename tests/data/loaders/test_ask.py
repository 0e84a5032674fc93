"""Is the name of a data set read as it is meant, and does none lead anywhere else?"""

from __future__ import annotations

import pytest

from torchattacks_ext.data.loaders.ask import Ask, local_folder, safe_name, split_spec
from torchattacks_ext.data.named import OPTIONS
from torchattacks_ext.errors import ConfigError


def test_options_stand_at_the_end() -> None:
    kind, name, options = split_spec("hf:a/b,split=test,label=fine", OPTIONS)
    assert (kind, name, options) == ("hf", "a/b", {"split": "test", "label": "fine"})
    assert Ask(kind, name, options).spec == "hf:a/b,split=test,label=fine"
    assert split_spec("npz:./x,y/a.npz", OPTIONS)[1:] == ("./x,y/a.npz", {})
    assert split_spec("digits", OPTIONS) == ("digits", "", {})


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (
            "npz:a.npz,splt=test",
            "npz has no option 'splt'; its options: split, channels",
        ),
        ("imagefolder:a,split=val", "its options: none"),
        ("hf:a/b,split=x,split=y", "says split twice"),
    ],
)
def test_other_options_are_refused(spec: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        split_spec(spec, OPTIONS)


@pytest.mark.parametrize(
    "name",
    [
        "../a",
        "a/../b",
        "a/b/c",
        "/etc/passwd",
        "a/..",
        "..",
        "",
        "a b",
        "-a/b",
        ".a/b",
        "a\\b",
        "a\n",
    ],
)
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="is no name"):
        safe_name(name, "hf:")


def test_a_folder_is_written_as_one() -> None:
    assert local_folder("owner/name") is None and local_folder("name") is None
    for name in ("./a", "../a", "/a", "~/a"):
        assert local_folder(name) is not None
