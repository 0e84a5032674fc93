"""Which rule bounds a module? One table, by class; yours go into it by `register_rule`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from ....errors import ConfigError
from ..bound import Rule
from . import activations, attention, linear, pools, refused, resizing, torchlip

_TABLE: dict[type | str, Rule] = {
    **refused.RULES,
    **attention.RULES,
    **linear.RULES,
    **pools.RULES,
    **resizing.RULES,
    **activations.RULES,
    **torchlip.RULES,
}
"""Classes, or the dotted names of classes of packages that are not imported for this."""


def register_rule(module_type: type | str, rule: Rule) -> None:
    """From now on `rule(module, place) -> Bound` bounds modules of this class.

    module_type: a subclass of nn.Module, or its full dotted name. The rule holds for subclasses
    that keep the `forward` of the class, and replaces the one that was there. It gets the module in
    eval mode and a :class:`~torchattacks_ext.models.lipschitz.bound.Place`, must not change the
    module, and raises ModelContractError where it has no bound.

    Raises ConfigError for what is no module class, and a rule that cannot be called.

    >>> class Halve(nn.Module):
    ...     def forward(self, x):
    ...         return x / 2
    >>> from torchattacks_ext.models.lipschitz.bound import Bound
    >>> register_rule(Halve, lambda module, place: Bound(0.5))
    >>> rule_of(Halve()) is not None
    True
    """
    named = isinstance(module_type, str) and "." in module_type
    if not named and not (
        isinstance(module_type, type) and issubclass(module_type, nn.Module)
    ):
        raise ConfigError(
            f"module_type={module_type!r} must be a subclass of nn.Module or its dotted name"
        )
    if not callable(rule):
        raise ConfigError(f"rule={rule!r} must be a function (module, place) -> Bound")
    _TABLE[module_type] = rule


def rule_of(module: nn.Module) -> Rule | None:
    """The rule of a module; None where its class, or its own `forward`, is not in the table.

    >>> rule_of(nn.Conv2d(1, 1, 1)) is linear.convolution, rule_of(nn.Sequential()) is None
    (True, True)
    """
    return next((_TABLE[key] for key in _keys(module) if key in _TABLE), None)


def _keys(module: nn.Module) -> Iterator[type | str]:
    """Classes from whom the module has its forward as it is, and their names."""
    own = type(module)
    if "forward" in vars(module):  # somebody put another one on
        return
    for kind in own.__mro__:
        if kind is nn.Module:
            return
        if all(_same(own, kind, name) for name in ("forward", "_conv_forward")):
            yield kind
            yield f"{kind.__module__}.{kind.__qualname__}"


def _same(own: type, kind: type, name: str) -> bool:
    mine: Any = getattr(own, name, None)
    return mine is getattr(kind, name, None)
