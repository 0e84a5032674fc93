"""MSA as a stage of an evaluation.

Read `stage` first; `judge` asks the runner again about what was left, `results` are the rows of one
batch as a result, `cost` is the estimate of a dry run.
"""

from .stage import AutoAttackStage as AutoAttackStage
from .stage import MSAStage as MSAStage
