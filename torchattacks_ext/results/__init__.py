"""Results: frozen per-sample tables that travel as JSON."""

from .accuracy import Accuracy as Accuracy
from .attack import AttackResult as AttackResult
from .base import Result as Result
from .claims import SilBand as SilBand
from .columns import Rows as Rows
from .columns import Table as Table
from .columns import column as column
from .evaluation import EvaluationReport as EvaluationReport
from .evaluation import StageReport as StageReport
from .facts import Cost as Cost
from .facts import Flag as Flag
from .prob_robustness import ProbRobustness as ProbRobustness
from .sensitivity import Sensitivity as Sensitivity
from .sidecar import SideCar as SideCar
