"""Does any attack contradict a certificate? `audit`, and the bracket of what is known of images.

`victims`: whose answer a certificate is about; `attacks`: who looks for another one; `work` and
`audit`: both held against radii; `foreign`, `verdicts`, `lirpa`: claims of other tools; `bracket`:
certified <= robust <= attacked.
"""

from .audit import Audit as Audit
from .audit import audit as audit
from .bracket import Bracket as Bracket
from .bracket import bracket as bracket
from .foreign import foreign_certificates as foreign_certificates
from .lirpa import lirpa_certificates as lirpa_certificates
from .verdicts import read_verdicts as read_verdicts
from .verdicts import verdict_certificates as verdict_certificates
