"""The l2-reclassifier: a trunk whose rows are compared with prototypes, part of them the batch's.

`settings` and `model` first, then `head` with its `prototypes` and `mixers`; `surrogates` are what
attacks it, `alone` is one image among clean companions; `finetune` with its settings (`tuning`) and
`losses` trains it, `splitting` finds the linear head of a classifier, `storing` keeps it.
"""

from .finetune import finetune_hpm as finetune_hpm
from .head import HPMHead as HPMHead
from .model import HPMModel as HPMModel
from .settings import HPMSettings as HPMSettings
