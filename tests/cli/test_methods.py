"""Are all methods listed, with what they claim and whom to cite?"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

import torchattacks_ext.attacks as attacks
from torchattacks_ext.cli.methods import (
    TORCHATTACKS_BIBTEX,
    certifier_facts,
    paper_of,
    probe_facts,
)
from torchattacks_ext.evaluation.zoo.catalogue import attack_names

Run = Callable[..., Any]


def test_every_probe_says_what_it_claims() -> None:
    facts = {fact["name"]: fact for fact in probe_facts()}
    exported = [name for name in vars(attacks) if isinstance(vars(attacks)[name], type)]
    assert set(facts) == set(exported) - {"Probe"}
    for fact in [*facts.values(), certifier_facts()]:
        assert fact["question"].endswith("?")
        assert all(fact.values()), fact


def test_the_list_names_everything(run: Run) -> None:
    done = run("methods")
    assert (done.code, done.err) == (0, "")
    first_words = {line.split()[0] for line in done.out.splitlines() if line.strip()}
    assert {"PRTest", "Ellips", *attack_names()} <= first_words


def test_json(run: Run) -> None:
    facts = json.loads(run("methods", "--json").out)
    assert [fact["name"] for fact in facts["attacks"]] == list(attack_names())
    assert facts["probes"] == probe_facts()
    assert facts["certifiers"] == [certifier_facts()]
    keys = {"name", "norm", "family", "targeted", "seeding", "caveat"}
    assert all(keys <= set(fact) for fact in facts["attacks"])


def test_bibtex(run: Run) -> None:
    out = run("methods", "--bibtex").out
    for probe in [*probe_facts(), certifier_facts()]:
        assert probe["citation"] in out
    assert TORCHATTACKS_BIBTEX in out
    assert out.count("{") == out.count("}")


@pytest.mark.parametrize(
    ("bibtex", "said"),
    [
        ("", ""),
        ("@a{b,\n author = {A, B},\n year = {1999},\n}", "A 1999"),
        ("@a{b,\n author = {A, B and C, D},\n doi = {10.1/x}\n}", "A & C, doi:10.1/x"),
        ("@a{b,\n author = {A, B and C, D and E, F},\n year = {2}\n}", "A et al. 2"),
    ],
)
def test_an_entry_in_words(bibtex: str, said: str) -> None:
    assert paper_of(bibtex) == said


def test_msa_names_both_papers_and_the_real_autoattack(run: Run) -> None:
    (msa,) = [probe for probe in probe_facts() if probe["name"] == "MSA"]
    assert "upper bound" in msa["guarantee"] and "surrogates" in msa["question"]
    first, second = msa["paper"].split("; ")
    assert first.endswith("arXiv:2606.01746") and second == "Croce & Hein 2020"
    assert "the real AutoAttack" in run("methods").out
