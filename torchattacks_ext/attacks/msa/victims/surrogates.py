"""Which models stand in for the target? Names for surrogates in whatever form they come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from ....engines.autoattack.runs import TARGET
from ....errors import ConfigError

RESERVED = (TARGET, "each", "surrogates", "best")
"""Names that a surrogate cannot have: a plan uses them."""


class Called(nn.Module):
    """A plain callable as a module.

    >>> Called(lambda images: images.flatten(1))(__import__("torch").zeros(1, 2, 2)).shape
    torch.Size([1, 4])
    """

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, images: Any) -> Any:
        """What the callable gives."""
        return self.function(images)


def named_surrogates(model: Any, surrogates: Any) -> dict[str, nn.Module]:
    """Name -> module, in order.

    surrogates: a sequence of modules or callables (named s1, s2, ..), a dict of them, or "auto",
    which asks `model.surrogates()`. Raises ConfigError for anything else and for a name that means
    something in a plan, as "target" does.

    >>> list(named_surrogates(None, [nn.Identity(), nn.Flatten()]))
    ['s1', 's2']
    """
    if isinstance(surrogates, str):
        ask = getattr(model, "surrogates", None)
        if surrogates != "auto" or not callable(ask):
            raise ConfigError(
                f"surrogates={surrogates!r}: only 'auto' is a word here, for a model with a "
                "method surrogates(); else give modules, or a dict of them by name"
            )
        surrogates = ask()
    if isinstance(surrogates, (Mapping, nn.ModuleDict)):
        named = dict(surrogates.items())
    elif isinstance(surrogates, (Sequence, nn.ModuleList)):
        named = {f"s{i}": one for i, one in enumerate(surrogates, 1)}
    else:
        raise ConfigError(
            f"surrogates are a {type(surrogates).__name__}, expected a list or dict of models; "
            "for one model write [model]"
        )
    found = {}
    for name, one in named.items():
        if not isinstance(name, str) or name in RESERVED or "/" in name or not name:
            raise ConfigError(
                f"a surrogate is named {name!r}; expected a word other than {RESERVED}, without /"
            )
        if not callable(one):
            raise ConfigError(
                f"surrogate {name!r} is a {type(one).__name__}, expected a Module or a callable"
            )
        found[name] = one if isinstance(one, nn.Module) else Called(one)
    return found
