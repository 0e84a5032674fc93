"""Defences that are models: what they promise is measured by the same methods as anything else."""

from .hpm import BatchReport as BatchReport
from .hpm import HPMHead as HPMHead
from .hpm import HPMModel as HPMModel
from .hpm import HPMSettings as HPMSettings
from .hpm import batch_report as batch_report
from .hpm import finetune_hpm as finetune_hpm
from .sensitivity import sensitivity_report as sensitivity_report
