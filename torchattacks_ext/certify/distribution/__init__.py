"""What do certificates of some images say of their source? Shares, and what KL cannot do.

`distribution`: the question; `fitted`: the Gaussians as a law that can be drawn from; `classes`: do
the latents of each class look like theirs; `divergence`: how far is the source from them at least;
`report`: what was found, told.
"""

from .classes import ClassFacts as ClassFacts
from .distribution import distribution_report as distribution_report
from .report import DistributionReport as DistributionReport
