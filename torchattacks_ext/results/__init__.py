"""Results: frozen per-sample tables that travel as JSON.

`base` is what each is made of. A family a file: `accuracy`, `attack`, `prob_robustness` (with
`claims` about the whole data set), `sensitivity` (with `correlation`), `certificates`, `stress`,
`sweep`; `datasets`: of a set as a whole; `evaluation` holds one result a stage (`stages`). `heads`
compares the heads of one trunk. `monitor`: a reference, and what later images say beside it.
"""

from .accuracy import Accuracy as Accuracy
from .attack import AttackResult as AttackResult
from .base.columns import Rows as Rows
from .base.columns import Table as Table
from .base.columns import column as column
from .base.facts import Cost as Cost
from .base.facts import Flag as Flag
from .base.result import Result as Result
from .base.sidecar import SideCar as SideCar
from .certificates import Certificates as Certificates
from .claims import SilBand as SilBand
from .datasets.audited import Audited as Audited
from .datasets.ood import OODScores as OODScores
from .datasets.shift import Shift as Shift
from .diagnosis.check import Check as Check
from .diagnosis.diagnosis import Diagnosis as Diagnosis
from .evaluation import EvaluationReport as EvaluationReport
from .evaluation import StageReport as StageReport
from .prob_robustness import ProbRobustness as ProbRobustness
from .sensitivity import Sensitivity as Sensitivity
from .stress import Stress as Stress
from .sweep import Sweep as Sweep
