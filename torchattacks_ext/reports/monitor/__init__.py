"""How are references and alerts told? `told`: lines for a terminal, or a page of Markdown."""

from .told import render_alert as render_alert
from .told import render_reference as render_reference
