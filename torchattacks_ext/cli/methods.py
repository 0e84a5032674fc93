"""Which methods can be run, what does each claim, and whom does one cite?"""

from __future__ import annotations

import re
import sys
from typing import Annotated, Any

import typer

from .common import show, show_json, table

TORCHATTACKS_BIBTEX = """@article{kim2020torchattacks,
  author  = {Kim, Hoki},
  title   = {Torchattacks: A PyTorch repository for adversarial attacks},
  journal = {arXiv preprint arXiv:2010.01950},
  year    = {2020}
}"""
_FIELD = re.compile(r"^\s*(\w+)\s*=\s*\{(.*?)\},?\s*$", re.MULTILINE)


def methods(
    bibtex: Annotated[
        bool, typer.Option("--bibtex", help="Print the citations as BibTeX.")
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """List this package's methods and the attacks."""
    probes, attacks = probe_facts(), attack_facts()
    certifiers = [certifier_facts()]
    if json_:
        show_json(
            {
                "probes": probes,
                "certifiers": certifiers,
                "attacks": attacks,
                "torchattacks": TORCHATTACKS_BIBTEX,
            }
        )
    elif bibtex:
        from ..evaluation.monitor.references import CITATION as MONITOR
        from ..evaluation.stages.sets.ood import OODStage
        from ..evaluation.stages.stress import StressStage

        cited = [p["citation"] for p in [*probes, *certifiers] if p["citation"]]
        cited += [StressStage.citation, OODStage.citation, MONITOR]
        show("\n\n".join([*cited, TORCHATTACKS_BIBTEX]))
    else:
        show(_text([*probes, *certifiers], attacks))
    return 0


def probe_facts() -> list[dict[str, str]]:
    """Name, question, guarantee, paper, BibTeX of each probe that `attacks` exports."""
    from .. import attacks
    from ..attacks.base.probe import Probe
    from ..evaluation.stages import STAGES

    found = [c for c in vars(attacks).values() if isinstance(c, type)]
    probes: list[type[Probe]] = [c for c in found if issubclass(c, Probe)]
    facts = []
    for probe in sorted(probes, key=lambda probe: probe.__name__):
        if probe is Probe:
            continue
        name = probe.__name__.lower()
        stage = STAGES.get(name) or STAGES.get(name.removesuffix("score"))
        facts.append(
            {
                "name": probe.__name__,
                "question": _question(sys.modules[probe.__module__].__doc__),
                "guarantee": "" if stage is None else stage.guarantee,
                "paper": paper_of(probe.citation),
                "citation": probe.citation,
            }
        )
    return facts


def certifier_facts() -> dict[str, str]:
    """The same of the certifier, which is a model and no probe.

    >>> certifier_facts()["name"]
    'Ellips'
    """
    from ..certify.ellips import certifier
    from ..evaluation.stages.certified import CertifiedStage

    return {
        "name": certifier.Ellips.__name__,
        "question": _question(certifier.__doc__),
        "guarantee": CertifiedStage.guarantee,
        "paper": paper_of(CertifiedStage.citation),
        "citation": CertifiedStage.citation,
    }


def _question(text: str | None) -> str:
    """Modules begin with the question that they answer."""
    question, mark, _ = (text or "").strip().partition("?")
    return " ".join(question.split()) + mark


def paper_of(bibtex: str) -> str:
    """BibTeX entries as "Names Year, identifier", joined by "; "; empty for none.

    >>> paper_of(TORCHATTACKS_BIBTEX)
    'Kim 2020, arXiv:2010.01950'
    """
    entries = re.split(r"^(?=@)", bibtex, flags=re.MULTILINE)
    return "; ".join(filter(None, map(_paper, entries)))


def _paper(bibtex: str) -> str:
    fields = {key.lower(): value for key, value in _FIELD.findall(bibtex)}
    people = fields.get("author", "").split(" and ")
    names = [person.partition(",")[0] for person in people]
    who = " & ".join(names) if len(names) < 3 else f"{names[0]} et al."
    number = re.search(r"arXiv:\d{4}\.\d{4,5}", bibtex)
    ids = [f"doi:{fields['doi']}"] if "doi" in fields else []
    ids += [number.group()] if number else []
    return ", ".join(
        part for part in [f"{who} {fields.get('year', '')}".strip(), *ids] if part
    )


def attack_facts() -> list[dict[str, Any]]:
    """What the registry knows of each attack of torchattacks."""
    from ..evaluation.zoo.catalogue import attack_info, attack_names

    infos = [attack_info(name) for name in attack_names()]
    return [
        {
            "name": info.name,
            "norm": info.norm,
            "norms": list(info.norms),
            "family": info.family,
            "targeted": info.targeted,
            "seeding": info.seeding,
            "paper": f"arXiv:{info.paper}" if info.paper else "",
            "caveat": info.caveat,
        }
        for info in infos
    ]


def _text(probes: list[dict[str, str]], attacks: list[dict[str, Any]]) -> str:
    lines = ["Methods of torchattacks_ext", ""]
    for probe in probes:
        lines.append(probe["name"])
        for key in ("question", "guarantee", "paper"):
            if probe[key]:
                lines.append(f"  {key:10} {probe[key]}")
        lines.append("")
    lines += [
        "Attacks of torchattacks, judged by this package (--attacks NAME,NAME)",
        "",
    ]
    head = ("name", "norm", "family", "targeted", "seeding", "caveat")
    rows = [
        (
            info["name"],
            "/".join(info["norms"]) or info["norm"] or "-",
            info["family"],
            "yes" if info["targeted"] else "no",
            info["seeding"],
            info["caveat"],
        )
        for info in attacks
    ]
    lines.append(table([head, *rows]))
    lines += [
        "",
        "--attacks also takes msa, autoattack and fast (msa, engine own, version fast). The name",
        "autoattack, in any mixture of cases, is the real AutoAttack; the class of torchattacks is",
        "attack=AutoAttack of a stage 'attack'. Any other class is package.module:Class.",
    ]
    lines += ["", f"torchattacks: {paper_of(TORCHATTACKS_BIBTEX)}; BibTeX: --bibtex"]
    return "\n".join(lines)
