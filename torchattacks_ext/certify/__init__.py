"""Which inputs are provably safe? Certificates; what is called one, is one.

`bounds`: what may enter a certificate, and what may not; `estimates`: numbers that may not.
`ellips`: Gaussian mixtures on an encoder. `encoders`: networks of Lipschitz constant 1 and their
training. `smoothing`: classifiers by the majority, or the mean, of noisy copies. `fisher`: upper
bounds of the Fisher score, which are no certificates of a label. `audit`: does an attack contradict
one? `distribution`: what certificates of some images say of their source.
"""

from .audit import Audit as Audit
from .audit import Bracket as Bracket
from .audit import audit as audit
from .audit import bracket as bracket
from .audit import foreign_certificates as foreign_certificates
from .audit import lirpa_certificates as lirpa_certificates
from .audit import read_verdicts as read_verdicts
from .audit import verdict_certificates as verdict_certificates
from .bounds import Estimate as Estimate
from .bounds import LipschitzBound as LipschitzBound
from .distribution import DistributionReport as DistributionReport
from .distribution import distribution_report as distribution_report
from .ellips.certifier import Ellips as Ellips
from .ellips.head import EllipsHead as EllipsHead
from .estimates import clever as clever
from .estimates import sampled_gradients as sampled_gradients
from .fisher import FisherBound as FisherBound
from .fisher import fim_upper_bound as fim_upper_bound
from .fisher import paper_bounds as paper_bounds
from .smoothing import RandomizedSmoothing as RandomizedSmoothing
from .smoothing import SmoothedEllips as SmoothedEllips
