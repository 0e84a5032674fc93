"""What is a copy tried on, and how is one made? A model, a batch of images, and its answers."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ModelContractError
from ..gradients import NoGradient, backward_explained
from ..logits import LogitsView
from ..precision import full_precision
from ..scores import Key, Outputs
from ..session import first_tensor, session
from .agreement import Agreement, Answer, answer, compare
from .copied import FastModel, Form
from .folding import fold
from .graph import Folds

FEW = 2
"""Rows that show what a forward does, where its numbers do not matter."""


@dataclass(frozen=True, eq=False)
class Reference:
    """What the model itself said.

    blind: why there is no gradient; None where there is one. writes: whether the model writes on
    its input.
    """

    answer: Answer
    blind: str | None
    writes: bool


@dataclass(frozen=True, eq=False)
class Scene:
    """A model, images (N, ...) on its device, and how its answers are read."""

    model: nn.Module
    images: Tensor
    outputs: Outputs = "logits"
    output_key: Key = None

    @property
    def dtype(self) -> torch.dtype:
        """That in which the model computes."""
        sample = first_tensor(self.model)
        return torch.float32 if sample is None else sample.dtype

    def view(
        self, net: Any, form: Form, told: Mapping[str, Any] | None = None
    ) -> FastModel:
        """A net in a form, with its answers read as the model's; told: facts about it."""
        return FastModel(net, form, self.outputs, self.output_key, told)

    def built(self, folds: Folds, form: Form) -> FastModel:
        """A new copy of the model, folded and laid out, its parameters frozen."""
        net = fold(copied(self.model), folds)
        if form.layout == "channels_last":
            net = net.to(memory_format=torch.channels_last)
        return self.view(net, form)

    def reference(self) -> Reference:
        """The answer of the model itself.

        ModelContractError where the model raises. One forward and one backward pass, and a forward
        of a few rows.
        """
        view = LogitsView(self.model, self.outputs, key=self.output_key)
        blind = None
        with session(self.model), full_precision():
            try:
                with backward_explained():
                    found = answer(view, self.images)
            except NoGradient as why:
                found, blind = answer(view, self.images, gradient=False), str(why)
            # what a forward leaves on its model must be without a graph, or it cannot be copied
            answer(view, self.images[:FEW], gradient=False)
        if blind is None and found.gradient is None:
            blind = "its logits do not depend on the images as far as autograd sees"
        return Reference(found, blind, bool(view.writes))

    def agreement(self, fast: FastModel, told: Answer) -> Agreement:
        """How the answers of a copy differ from `told`, both in full precision but for autocast."""
        with session(fast), full_precision():
            found = answer(fast, self.images, told.gradient is not None)
        return compare(told, found)


def copied(model: nn.Module) -> nn.Module:
    """A copy with frozen parameters; ModelContractError where there is none.

    >>> [one.requires_grad for one in copied(nn.Linear(2, 2)).parameters()]
    [False, False]
    """
    try:
        with torch.no_grad():  # else weights of a copied script hang on the original's
            found = copy.deepcopy(model)
        for parameter in found.parameters():
            parameter.requires_grad_(False)
            parameter.grad = None
    except Exception as error:  # whatever a foreign module raises
        words = " ".join(str(error).split())[:160]
        raise ModelContractError(
            f"{type(model).__name__} cannot be copied ({type(error).__name__}: {words}); take off "
            "what its last forward left on it, or attack it as it is"
        ) from error
    return found
