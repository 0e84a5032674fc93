"""Is a plan file right, and if it is not, in which line?"""

from __future__ import annotations

from typing import Any

from ...errors import ConfigError
from ..plan import Plan, check_plan
from ..plans.places import PlanFile
from ..stages import build_stages


def check_file(file: PlanFile, **changes: Any) -> Plan:
    """The plan of a file (:func:`..plans.places.read_plan`), every stage built once for a trial.

    changes: keys that stand for those of the file. Raises ConfigError with the line of the key, of
    a plan or of a stage's arguments, that is wrong.

    >>> from torchattacks_ext.evaluation.plans.places import Places
    >>> file = PlanFile({"eps": 0.1, "stages": ["PGDD"]}, Places("p.yaml", {("stages", 0): 3}))
    >>> try:
    ...     check_file(file)
    ... except ConfigError as error:
    ...     print(str(error)[:36])
    plan file p.yaml, line 3: stage 'PGD
    """
    plan = check_plan(PlanFile({**file, **changes}, file.places))
    for number, spec in enumerate(plan.stages):
        try:
            build_stages(plan.model_copy(update={"stages": (spec,)}))
        except ConfigError as error:
            line = file.places.of_stage(number, str(error))
            where = "" if line is None else f", line {line}"
            raise ConfigError(f"plan file {file.places.file}{where}: {error}") from None
    build_stages(plan)  # what is wrong between stages
    return plan
