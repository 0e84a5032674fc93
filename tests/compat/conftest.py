"""Where do the kinds of models come from? The folder `kinds` beside this file."""

from __future__ import annotations

import sys
from pathlib import Path

PLACE = str(Path(__file__).resolve().parent)
if PLACE not in sys.path:
    sys.path.insert(0, PLACE)
