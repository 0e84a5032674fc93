"""MSA as a stage of an evaluation.

Read `stage` first; `kinds` are targets that are not fixed, `judge` asks the runner again about what
was left, `cost` is the estimate of a dry run.
"""

from .stage import AutoAttackStage as AutoAttackStage
from .stage import MSAStage as MSAStage
