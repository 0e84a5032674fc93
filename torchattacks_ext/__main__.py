"""What does `python -m torchattacks_ext` do? The same as `torchattacks-ext`."""

from __future__ import annotations

from .cli.main import run

if __name__ == "__main__":
    run()
