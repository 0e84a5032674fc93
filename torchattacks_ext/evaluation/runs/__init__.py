"""What changed between runs, and may a release pass? `compare`, `gate`, tables of many runs.

`measured`: what a stage says of each image; `paired`: two runs; `table`: many; `policy` and `gate`:
rules on lower bounds, which fail closed. `bracketed`: certified <= robust <= attacked.
"""

from .bracketed import bracket_run as bracket_run
from .gate import GateResult as GateResult
from .gate import gate as gate
from .paired import PairedComparison as PairedComparison
from .paired import compare_runs as compare_runs
from .policy import Policy as Policy
from .policy import read_policy as read_policy
from .table import RunsTable as RunsTable
from .table import runs_table as runs_table
