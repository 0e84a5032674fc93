from typing import Any

from . import attack as attack

__version__: str
__all__: list[str]

def __getattr__(name: str) -> Any: ...
