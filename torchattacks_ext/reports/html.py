"""How is a report handed on? One HTML file that loads nothing and runs nothing."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import lru_cache
from importlib import resources
from typing import Any

from .._version import __version__
from ..errors import MissingExtra
from ..results.evaluation import EvaluationReport
from . import breakdown
from .certified import told as certified
from .drawing.charts import HEIGHT, TRACK, WIDTH, interval_mark
from .drawing.pictures import exhibits
from .overview import context
from .overview.comparison import Reports, as_reports, compare, model_names
from .overview.scorecard import scorecard
from .overview.summary import plain_summary
from .rates.claims import band_text, claims
from .rates.histograms import spreads
from .sections import sections
from .sensitivity.figures import score_figures
from .sets.cost import cost_told
from .sets.told import sets_told
from .stages import n_images
from .stress import stress_told
from .words import confidence_text, cost_text, count, one_line

_LINK = re.compile(r"arXiv:(\d{4}\.\d{4,5})|doi:(10\.\d{4,9}/[\w.()/-]*\w)")
_PERCENT = re.compile(r"(?<=[\d\]]) %")


def render_html(
    reports: Reports, title: str = "Robustness report", *, confidence: float = 0.95
) -> str:
    """One report, or several side by side, as one self-contained HTML page.

    No script, no network: a content security policy allows data: images and the one
    inline style sheet, by its hash. Everything that a user named is escaped. title: of
    the page. confidence: of the intervals, in (0, 1). Raises MissingExtra without
    jinja2, or without pillow where there are pictures.

    >>> report = EvaluationReport("net", {}, {}, {"n": 0}, stages=())
    >>> render_html(report, title="A & B").count("A &amp; B")
    2
    """
    found = as_reports(reports)
    names = model_names(found)
    style = _resource("report.css")
    page: str = _template().render(
        title=one_line(title, 200) or "Robustness report",
        policy=content_policy(style),
        style=style,
        level=confidence_text(confidence),
        models=[_model(*pair, confidence) for pair in zip(names, found)],
        side=compare(found, confidence) if len(found) > 1 else None,
        how_to_read=context.HOW_TO_READ,
        version=__version__,
        books_head=breakdown.HEAD,
        certified_head=certified.HEAD,
        chart_size=(WIDTH, HEIGHT),
        track=TRACK,
    )
    return page


def content_policy(style: str) -> str:
    """The Content-Security-Policy under which exactly this inline style sheet applies.

    >>> content_policy("p {}")[:47]
    "default-src 'none'; img-src data:; style-src 's"
    """
    digest = hashlib.sha256(style.encode("utf-8")).digest()
    key = base64.b64encode(digest).decode("ascii")
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{key}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _resource(name: str) -> str:
    folder = resources.files("torchattacks_ext.reports") / "templates"
    return (folder / name).read_text(encoding="utf-8")


def _template() -> Any:
    try:
        import jinja2  # noqa: F401
    except ImportError as error:
        raise MissingExtra("render_html needs jinja2; pip install jinja2") from error
    return _compiled()


@lru_cache(maxsize=1)
def _compiled() -> Any:
    import jinja2

    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_glued,
    )
    environment.filters["linked"] = linked
    environment.filters["band"] = band_text
    environment.filters["cost"] = cost_text
    environment.filters["count"] = count
    environment.filters["mark"] = interval_mark
    return environment.from_string(_resource("report.html.j2"))


def _glued(value: Any) -> Any:
    """No line break between a number and its percent sign; escaped text stays as it is."""
    return _PERCENT.sub("\u00a0%", value) if type(value) is str else value


def linked(text: str) -> list[tuple[str, str]]:
    """The text cut into (piece, address); the address is "" but for arXiv numbers and DOIs.

    >>> linked("see arXiv:1706.06083.")
    [('see ', ''), ('arXiv:1706.06083', 'https://arxiv.org/abs/1706.06083'), ('.', '')]
    """
    pieces, end = [], 0
    for match in _LINK.finditer(text):
        arxiv, doi = match.groups()
        address = (
            f"https://arxiv.org/abs/{arxiv}" if arxiv else f"https://doi.org/{doi}"
        )
        pieces += [(text[end : match.start()], ""), (match.group(), address)]
        end = match.end()
    return [piece for piece in [*pieces, (text[end:], "")] if piece[0]]


def _model(name: str, report: EvaluationReport, confidence: float) -> dict[str, Any]:
    return {
        "name": name,
        "n": n_images(report),
        "summary": plain_summary(report),
        "doubts": context.doubts(report),
        "rows": scorecard(report, confidence),
        "tests": list(zip(claims(report, confidence), spreads(report))),
        "breakdowns": breakdown.breakdowns(report),
        "scores": score_figures(report),
        "certified": certified.certified_told(report, confidence),
        "stress": stress_told(report, confidence),
        "sets": sets_told(report, confidence),
        "costs": cost_told(report),
        "sections": sections(report, confidence),
        "exhibits": exhibits(report.gallery),
        "not_tested": context.not_tested(report),
        "methods": context.methods(report),
        "provenance": context.provenance(report),
        "plan": context.plan_json(report),
    }
