"""How does the audit of a data set look? Text for a terminal, Markdown for a page."""

from __future__ import annotations

from ..errors import ConfigError
from ..results.datasets.audit import DataAudit
from .markdown import escape
from .sets.findings import Rows, audit_findings, audit_tables, verdict
from .text import table


def render_audit(audit: DataAudit, *, markdown: bool = False, width: int = 100) -> str:
    """The findings, a table of splits, one of overlaps, and the first pairs.

    width: most characters a line of the text, at least 60 (ConfigError below).

    >>> from torchattacks_ext.results.datasets.audit import SplitFacts
    >>> facts = SplitFacts(name="test", n=2, shapes=((1, 8, 8),), fingerprint="ab", low=0, high=1)
    >>> render_audit(DataAudit(splits=(facts,))).splitlines()[0]
    'Data audit: nothing found'
    """
    if width < 60:
        raise ConfigError(f"width={width} is too narrow; give at least 60")
    parts = audit_tables(audit)
    title = f"Data audit: {verdict(audit)}"
    lines, said = [f"# {escape(title)}" if markdown else title], audit_findings(audit)
    lines += [""] * bool(said)
    lines += [f"- {escape(one) if markdown else one}" for one in said]
    for head, rows in parts:
        lines += ["", f"## {head}" if markdown else head, ""]
        lines += _pipes(rows) if markdown else table(rows, width, indent="  ")
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _pipes(rows: Rows) -> list[str]:
    head, *body = [[escape(cell) for cell in row] for row in rows]
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *body)]
