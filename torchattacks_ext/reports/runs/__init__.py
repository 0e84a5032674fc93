"""How are comparisons and gates told? Text and Markdown, LaTeX and CSV for papers, files for CI.

`told`: two runs and a gate in words; `tables`: many runs as text, Markdown, LaTeX, CSV; `sarif` and
`junit`: what code-scanning and test viewers read.
"""

from .junit import render_junit as render_junit
from .sarif import render_sarif as render_sarif
from .tables import render_runs as render_runs
from .told import render_compared as render_compared
from .told import render_gate as render_gate
