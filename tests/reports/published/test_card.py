"""Model cards: every number comes back under its own condition, and nobody's text is lost."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from torchattacks_ext.errors import BackendError, InputError, MissingExtra
from torchattacks_ext.reports.published import figures, render_card, save_card
from torchattacks_ext.reports.published.body import BEGIN, END, section
from torchattacks_ext.results.base.facts import Flag

USERS = """---
license: mit
language:
- en
model-index:
- name: mine
  results:
  - task:
      type: image-classification
    dataset:
      name: Own
      type: own
    metrics:
    - type: accuracy
      value: 0.5
---

# My model

Words of mine.
"""


@pytest.fixture(scope="module")
def hub() -> Any:
    return pytest.importorskip("huggingface_hub")


# ------------------------------------------------------------------ what is told
def test_every_share_has_a_condition_of_its_own(fake: Any) -> None:
    found = figures(fake().full())
    conditions = [one.condition for one in found]
    assert len(set(conditions)) == len(conditions)
    assert conditions[0] == "clean" and "FGSM: Linf, eps 8/255" in conditions
    by_name = {one.stage: one for one in found}
    assert by_name["FGSM"].value == 120 / 200 and by_name["clean"].value == 187 / 200
    assert "CW" not in by_name, "a stage that failed has no number"
    assert "worst_case" not in by_name, "nor has a worst case without it"
    for one in found:
        assert one.low <= one.value <= one.high and type(one.value) is float
        if one.metric == "attacked_accuracy":
            assert "upper bound" in one.name and "upper bound" in one.worth
        assert one.name != "robust accuracy"


def test_two_attacks_of_one_method_and_two_radii_stay_apart(fake: Any) -> None:
    one = fake()
    weak = {"method": "PGD", "norm": "Linf", "eps": 0.03, "seed": 0}
    close = {**weak, "eps": 0.0300001}
    stages = (
        one.clean(),
        replace(one.attack("PGD", 90, settings=weak), name="weak"),
        replace(one.attack("PGD", 80, settings=close), name="strong"),
    )
    found = [f.condition for f in figures(one.report(*stages))]
    assert found[1] == "weak: PGD, Linf, eps 0.03"
    assert found[2] == "strong: PGD, Linf, eps 0.0300001"


def test_radii_that_print_alike_stay_apart(fake: Any) -> None:
    """Words of equal length and radius: one group would mix two numbers."""
    one = fake()
    stages = [one.clean()]
    for eps, left in ((8 / 255, 90), (8 / 255 * (1 + 3e-8), 80)):
        settings = {"method": "PGD", "norm": "Linf", "eps": eps, "seed": 0}
        stages.append(one.attack("x" * 70, left, settings=settings))
    found = [f.condition for f in figures(one.report(*stages))]
    assert len(set(found)) == 3 + 1 and found[2].endswith("(2)")


def test_names_are_no_markup(hub: Any, fake: Any) -> None:
    text = render_card(fake().full(f"<b>[x](y) {END}"))
    body = text.split("---\n", 2)[2]
    assert "<b>" not in body and body.count(END) == 1 and "\\[x\\]" in body


def test_an_attack_that_did_not_finish_has_no_number(fake: Any) -> None:
    one = fake()
    report = one.report(one.clean(), one.attack("PGD", 80, failed=3))
    assert [f.stage for f in figures(report)] == ["clean"]
    text = section(report, figures(report))
    assert "incomplete" in text and BEGIN in text and END in text


def test_the_section_says_what_is_missing_and_every_doubt(fake: Any) -> None:
    flag = Flag("packed_anew", "images | that occur <twice>", 3)
    report = fake().full(flags=(flag,))
    text = section(report, figures(report))
    assert "CW: BackendError: out of memory" in text
    assert "images \\| that occur &lt;twice&gt;" in text
    assert "**upper bound**" in text and "### Not tested" in text
    assert text.count("robust accuracy: no attack proves robustness") == 3


# ------------------------------------------------------------------ metadata
def test_the_card_comes_back_as_it_was_told(
    hub: Any, fake: Any, tmp_path: Path
) -> None:
    report, path = fake().full("é | net: no"), tmp_path / "README.md"
    save_card(report, path, dataset="own/digits", split="test")
    back = hub.ModelCard.load(path)
    wanted, read = figures(report), back.data.eval_results
    assert back.data.model_name == "é | net: no"
    assert [one.metric_value for one in read] == [one.value for one in wanted]
    assert all(type(one.metric_value) is float for one in read)
    assert [one.dataset_config for one in read] == [one.condition for one in wanted]
    assert {one.dataset_split for one in read} == {"test"}
    assert {one.dataset_type for one in read} == {"own/digits"}
    attacked = next(one for one in read if one.dataset_config.startswith("FGSM"))
    assert attacked.metric_args["eps"] == 8 / 255
    assert attacked.metric_args["interval"] == [wanted[1].low, wanted[1].high]
    assert "upper bound" in attacked.metric_name
    index = back.data.to_dict()["model-index"][0]["results"]
    assert all(len(entry["metrics"]) == 1 for entry in index), "no group mixes numbers"


def test_written_again_it_is_the_same_file(hub: Any, fake: Any, tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    save_card(fake().full(), path)
    first = path.read_bytes()
    save_card(fake().full(), path)
    assert path.read_bytes() == first
    save_card(fake(n=50, right=40).report(fake(50, 40).clean()), path)
    text = path.read_text(encoding="utf-8")
    assert "80.0 %" in text and "FGSM" not in text, "numbers of the old run are gone"


def test_numbers_of_another_model_do_not_come_under_its_name(
    hub: Any, fake: Any, tmp_path: Path
) -> None:
    path = tmp_path / "README.md"
    one = replace(fake().full(), model={"sha256": "aa11"})
    save_card(one, path, name="own/net")
    first = path.read_bytes()
    for model in ({"sha256": "bb22"}, {}):
        other = replace(fake(50, 40).report(fake(50, 40).clean()), model=model)
        with pytest.raises(InputError, match="other weights"):
            save_card(other, path)
        assert path.read_bytes() == first
    save_card(replace(other, model={"sha256": "cc33"}), path, update=True)
    assert "cc33" in path.read_text(encoding="utf-8")
    save_card(one, path, force=True)
    assert "own/net" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("line", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_text_and_results_of_others_stay(
    hub: Any, fake: Any, tmp_path: Path, line: str
) -> None:
    path = tmp_path / "README.md"
    before = USERS.replace("\n", line).encode()
    path.write_bytes(before)
    with pytest.raises(InputError, match="--update"):
        save_card(fake().full(), path)
    assert path.read_bytes() == before
    save_card(fake().full(), path, update=True)
    text = path.read_bytes().decode()
    assert f"{line}Words of mine.{line}" in text and BEGIN in text
    assert ("\r" in text) == (line == "\r\n")
    assert "\n" not in text.replace(line, "")
    back = hub.ModelCard.load(path)
    assert back.data.license == "mit" and back.data.language == ["en"]
    assert back.data.model_name == "mine"
    assert back.data.eval_results[0].metric_value == 0.5
    assert len(back.data.eval_results) == 1 + len(figures(fake().full()))
    path.write_bytes((text + f"{line}More below.{line}").encode())
    save_card(fake().report(fake().clean()), path, update=True)
    text = path.read_bytes().decode()
    assert "Words of mine." in text and text.endswith(f"More below.{line}")
    assert len(hub.ModelCard.load(path).data.eval_results) == 2
    save_card(fake().full(), path, force=True)
    assert "mine" not in path.read_text(encoding="utf-8")


def test_a_page_without_metadata_becomes_a_card(
    hub: Any, fake: Any, tmp_path: Path
) -> None:
    path = tmp_path / "README.md"
    path.write_text("# Words\n", encoding="utf-8")
    save_card(fake().full(), path, update=True)
    back = hub.ModelCard.load(path)
    assert back.text.startswith("# Words") and back.data.eval_results


@pytest.mark.parametrize(
    ("old", "words"),
    [
        ("---\nmodel-index: 3\n---\n", "cannot be read"),
        ("---\na: [\n---\n", "cannot be read"),
        (f"---\na: 1\n---\n{BEGIN}\n", "once each"),
        (USERS.replace("value: 0.5", "value: 0.5\n      own: 1"), "cannot write back"),
        ("---\nlanguage: no\n---\n", "put it in quotes"),
        (
            USERS.replace(
                "---\n\n# My",
                "- name: other\n  results:\n  - task: {type: t}\n    dataset: {name: A, type: a}\n"
                "    metrics: [{type: m, value: 1}]\n---\n\n# My",
            ),
            "cannot write back",
        ),
    ],
    ids=["index", "yaml", "marks", "keys", "truth", "models"],
)
def test_what_would_be_lost_is_refused(
    hub: Any, fake: Any, tmp_path: Path, old: str, words: str
) -> None:
    path = tmp_path / "README.md"
    path.write_text(old, encoding="utf-8")
    with pytest.raises(InputError, match=words):
        save_card(fake().full(), path, update=True)
    assert path.read_text(encoding="utf-8") == old
    assert [p.name for p in tmp_path.iterdir()] == ["README.md"]


def test_a_number_that_does_not_come_back_leaves_nothing(
    hub: Any, fake: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    whole = hub.ModelCard.__str__

    def lossy(card: Any) -> str:
        return str(whole(card)).replace("0.935", "0.93")

    monkeypatch.setattr(hub.ModelCard, "__str__", lossy)
    with pytest.raises(BackendError, match="'clean'"):
        save_card(fake().full(), tmp_path / "README.md")
    assert list(tmp_path.iterdir()) == []


def test_without_the_library_the_extra_is_named(fake: Any, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtra, match=r"torchattacks_ext\[card\]"):
        render_card(fake().full())
