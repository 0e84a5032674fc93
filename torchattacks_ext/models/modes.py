"""How does a model change between training and evaluation, and back, when its modules do work then?

`Module.train` sets a flag in every child. Modules that override it (adapters that merge their
weights in eval mode) must be asked themselves; graphs that were exported or frozen have no modes at
all, and are left alone with all that is below them.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

Modes = list[tuple[nn.Module, bool]]
"""Modules and their `training` flags, parents first."""


def modes_of(model: nn.Module) -> Modes:
    """The modules that have a mode; a frozen script has none.

    >>> [mode for _, mode in modes_of(nn.Sequential(nn.Dropout()).eval())]
    [False, False]
    """
    found = []
    for module in model.modules():
        mode = getattr(module, "training", None)
        if isinstance(mode, bool):
            found.append((module, mode))
    return found


def give_back_modes(modes: Modes) -> None:
    """Every module in its own mode again: by its own `train` where it has one, then by flag."""
    moved = [(module, mode) for module, mode in modes if module.training != mode]
    for module, mode in moved:
        if works_on_change(module):
            change(module, mode)
    for module, mode in modes:
        if module.training != mode:
            module.training = mode


def works_on_change(module: nn.Module) -> bool:
    """Whether the module's class, or the module itself, has a `train` of its own."""
    return type(module).train is not nn.Module.train or "train" in vars(module)


def change(module: nn.Module, mode: bool) -> None:
    """What `module.train(mode)` does, but what has no modes is passed by with its children.

    >>> net = nn.Sequential(nn.Dropout())
    >>> change(net, False)
    >>> net[0].training
    False
    """
    if works_on_change(module):
        try:
            module.train(mode)
        except (NotImplementedError, AttributeError):
            # an exported graph refuses, a frozen script has lost the flag
            if isinstance(getattr(module, "training", None), bool) and _owns(module):
                module.training = mode
        return
    if isinstance(getattr(module, "training", None), bool):  # a frozen script has none
        module.training = mode
    for child in module.children():
        change(child, mode)


def _owns(module: nn.Module) -> bool:
    """Whether the flag is a plain attribute, as it is but for scripts."""
    return "training" in vars(module)


def in_training(model: nn.Module) -> Iterator[nn.Module]:
    """The modules that are in training mode."""
    return (module for module, mode in modes_of(model) if mode)
