"""How is the map from NIST's AI RMF to a report's evidence told? A page of Markdown, or JSON."""

from __future__ import annotations

import json
from dataclasses import asdict

from ...results.evaluation import EvaluationReport
from ..markdown import escape
from ..words import one_line
from .evidence import Evidence, evidence_map
from .wording import SOURCE

SCHEMA = "rmf_evidence/1"
NOTE = (
    "This map says where an evaluation report has evidence for a subcategory, and which parts of "
    "the sentence it says nothing of. It does not judge: whether evidence suffices, and what else "
    "the framework asks, is for those who manage the risk. Subcategories that are not listed were "
    "not looked at."
)
HEAD = ("Subcategory", "Wording", "Evidence", "Where", "Not in the report")


def render_rmf(report: EvaluationReport) -> str:
    """A table of subcategories with their official wording, and pointers into report.json.

    >>> report = EvaluationReport("net", {}, {}, {"n": 0}, stages=())
    >>> render_rmf(report).splitlines()[0]
    '# Evidence for subcategories of the NIST AI RMF: net'
    """
    rows = [HEAD, (":---",) * len(HEAD)]
    rows += [_row(one) for one in evidence_map(report)]
    name = escape(one_line(report.name, 60) or "unnamed model")
    return "\n\n".join(
        [
            f"# Evidence for subcategories of the NIST AI RMF: {name}",
            NOTE,
            "\n".join(f"| {' | '.join(row)} |" for row in rows),
            f"Wording: {SOURCE}. Places are JSON pointers (RFC 6901) into the report.json that "
            "`evaluate --out` and `report --form json` write.\n",
        ]
    )


def render_rmf_json(report: EvaluationReport) -> str:
    """The same as JSON: {"schema", "report", "source", "note", "entries": [...]}.

    >>> report = EvaluationReport("net", {}, {}, {"n": 0}, stages=())
    >>> json.loads(render_rmf_json(report))["entries"][0]["id"]
    'MAP 2.3'
    """
    told = {
        "schema": SCHEMA,
        "report": one_line(report.name, 60),
        "source": SOURCE,
        "note": NOTE,
        "entries": [asdict(one) | {"state": one.state} for one in evidence_map(report)],
    }
    return json.dumps(told, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _row(one: Evidence) -> tuple[str, ...]:
    found = "<br>".join(f"{escape(p.says)} (`{p.place}`)" for p in one.found) or "-"
    lacks = "<br>".join(map(escape, one.lacks)) or "-"
    return one.id, escape(one.wording), one.state, found, lacks
