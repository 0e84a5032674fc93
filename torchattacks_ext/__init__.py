"""What does torchattacks_ext offer? Tests and scores of robustness beside torchattacks' attacks.

Import it beside torchattacks: ``import torchattacks, torchattacks_ext as tax``.
"""

import logging

from ._typing import NORMS as NORMS
from ._typing import Norm as Norm
from ._typing import Status as Status
from ._typing import Verdict as Verdict
from ._version import __version__ as __version__
from .attacks.base.probe import Probe as Probe
from .attacks.fimscore.fimscore import FIMScore as FIMScore
from .attacks.msa.msa import MSA as MSA
from .attacks.prtest.prtest import PRTest as PRTest
from .certify import Ellips as Ellips
from .certify import EllipsHead as EllipsHead
from .certify import Estimate as Estimate
from .certify import LipschitzBound as LipschitzBound
from .certify.encoders import orthogonal_cnn as orthogonal_cnn
from .certify.encoders import orthogonal_mlp as orthogonal_mlp
from .certify.encoders import train_encoder as train_encoder
from .data.audit.audit import data_audit as data_audit
from .errors import BackendError as BackendError
from .errors import ConfigError as ConfigError
from .errors import InputError as InputError
from .errors import MissingExtra as MissingExtra
from .errors import ModelContractError as ModelContractError
from .errors import ReliabilityWarning as ReliabilityWarning
from .errors import StateError as StateError
from .errors import StatusError as StatusError
from .errors import TorchattacksExtError as TorchattacksExtError
from .evaluation.budget import budgeted_accuracy as budgeted_accuracy
from .evaluation.diagnose import diagnose as diagnose
from .evaluation.runner import evaluate as evaluate
from .models.normalised import NormalizedModel as NormalizedModel
from .results import Accuracy as Accuracy
from .results import AttackResult as AttackResult
from .results import Audited as Audited
from .results import Certificates as Certificates
from .results import Check as Check
from .results import Diagnosis as Diagnosis
from .results import EvaluationReport as EvaluationReport
from .results import Flag as Flag
from .results import OODScores as OODScores
from .results import ProbRobustness as ProbRobustness
from .results import Result as Result
from .results import Sensitivity as Sensitivity
from .results import Shift as Shift
from .results import SilBand as SilBand
from .results import Stress as Stress
from .results.datasets.audit import DataAudit as DataAudit
from .results.datasets.budget import BudgetedAccuracy as BudgetedAccuracy
from .samplers import Affine as Affine
from .samplers import Compose as Compose
from .samplers import Corruption as Corruption
from .samplers import EightBit as EightBit
from .samplers import Gaussian as Gaussian
from .samplers import L1Ball as L1Ball
from .samplers import L2Ball as L2Ball
from .samplers import LinfUniform as LinfUniform
from .samplers import Photometric as Photometric
from .samplers import Sampler as Sampler

__all__ = [
    # methods
    "FIMScore",
    "MSA",
    "PRTest",
    "Probe",
    "budgeted_accuracy",
    "data_audit",
    "diagnose",
    "evaluate",
    # certificates
    "Ellips",
    "EllipsHead",
    "Estimate",
    "LipschitzBound",
    "orthogonal_cnn",
    "orthogonal_mlp",
    "train_encoder",
    # models and samplers
    "Affine",
    "Compose",
    "Corruption",
    "EightBit",
    "Gaussian",
    "L1Ball",
    "L2Ball",
    "LinfUniform",
    "NormalizedModel",
    "Photometric",
    "Sampler",
    # results
    "Accuracy",
    "AttackResult",
    "Audited",
    "BudgetedAccuracy",
    "Certificates",
    "Check",
    "DataAudit",
    "Diagnosis",
    "EvaluationReport",
    "Flag",
    "OODScores",
    "ProbRobustness",
    "Result",
    "Sensitivity",
    "Shift",
    "SilBand",
    "Stress",
    # words
    "NORMS",
    "Norm",
    "Status",
    "Verdict",
    # errors
    "BackendError",
    "ConfigError",
    "InputError",
    "MissingExtra",
    "ModelContractError",
    "ReliabilityWarning",
    "StateError",
    "StatusError",
    "TorchattacksExtError",
    "__version__",
]

# Words go to this logger; without a handler of the user's they are not shown.
logging.getLogger("torchattacks_ext").addHandler(logging.NullHandler())
