"""How sensitive are heads of one trunk? The paper's measures of it, and fair ones beside them.

`report` is the call, `measured` what it says of one head; `heads` says what a head is here,
`ascent` attacks it, `paper` has the paper's relative changes and angles, `fair` margins and
distances to the boundary; `laws` and `angles` are laws of those angles, fitted and isotropic.
"""

from .report import sensitivity_report as sensitivity_report
