"""What is handed on to people who have their own forms? A model card, a claim, an evidence map.

`figures`: the numbers of a report, each with the condition it holds under; `body`, `keeping` and
`card`: a model card of Hugging Face, read back before it is kept; `claim`: the fields of an entry
of RobustBench, as far as a run supports them; `wording`, `evidence` and `rmf`: where a report has
evidence for subcategories of NIST's AI RMF.
"""

from .card import render_card as render_card
from .card import save_card as save_card
from .claim import Claim as Claim
from .claim import render_claim as render_claim
from .claim import robustbench_claim as robustbench_claim
from .evidence import Evidence as Evidence
from .evidence import evidence_map as evidence_map
from .figures import Figure as Figure
from .figures import figures as figures
from .rmf import render_rmf as render_rmf
from .rmf import render_rmf_json as render_rmf_json
