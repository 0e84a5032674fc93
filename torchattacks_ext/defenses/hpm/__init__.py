"""The l2-reclassifier: a trunk whose rows are compared with prototypes, part of them the batch's.

`settings` and `model` first, then `head` with its `prototypes` and `mixers`; `surrogates` are what
attacks it, `alone` is one image among clean companions, `others` a row without itself; `company`
measures what companions do. `training` fits it, `splitting` finds the linear head of a classifier,
`storing` keeps it.
"""

from .company import BatchReport as BatchReport
from .company import batch_report as batch_report
from .head import HPMHead as HPMHead
from .model import HPMModel as HPMModel
from .settings import HPMSettings as HPMSettings
from .training import finetune_hpm as finetune_hpm
