"""How is an evaluation told? As text, Markdown, JSON or one HTML file: result in, str out."""

from .audit import render_audit as render_audit
from .html import render_html as render_html
from .json import render_json as render_json
from .markdown import render_markdown as render_markdown
from .overview.scorecard import ScoreRow as ScoreRow
from .overview.scorecard import scorecard as scorecard
from .overview.summary import plain_summary as plain_summary
from .text import render_text as render_text
