"""In which shapes and containers do models return their scores?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .case import Case, digits, digits_net, kind, on_digits


class Returning(nn.Module):
    """A net whose features and logits are put into a container."""

    def __init__(self, form: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.net, self.form = digits_net(), form

    def forward(self, images: Tensor) -> Any:
        """Whatever `form` makes of features (N, 64) and logits (N, 10)."""
        features = self.net[:-1](images)
        return self.form(features, self.net[-1](features))


class Named(NamedTuple):
    """Features and scores by name."""

    features: Tensor
    scores: Tensor


@dataclass
class Output:
    """As transformers' ModelOutput: optional parts, logits among them."""

    logits: Tensor
    loss: Tensor | None = None


class Masked(nn.Module):
    """Two of the ten classes are switched off by -inf."""

    off: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.net = digits_net()
        self.register_buffer("off", torch.arange(10) > 7)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, 10), -inf in the last two columns."""
        found: Tensor = self.net(images).masked_fill(self.off, float("-inf"))
        return found


class Kept(Masked):
    """The same, without the two columns."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, 8)."""
        found: Tensor = self.net(images)[:, ~self.off]
        return found


class Single(nn.Module):
    """One logit: is the digit above four? As two columns, or as one."""

    def __init__(self, form: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.net, self.form = digits_net(), form

    def forward(self, images: Tensor) -> Tensor:
        """What `form` makes of the logit (N, 1)."""
        logits = self.net(images)
        return self.form(
            logits[:, 5:].logsumexp(1, True) - logits[:, :5].logsumexp(1, True)
        )


def _binary(form: Callable[[Tensor], Tensor], **options: Any) -> Case:
    images, labels = digits()
    plain = Single(lambda z: torch.cat([torch.zeros_like(z), z], 1))
    return Case(Single(form), plain, images, (labels > 4).long(), options)


@kind("-inf on masked classes")
def masked() -> Case:
    """A subset of the classes; the plain net has those columns only."""
    images, labels = digits()
    rows = labels < 8
    return Case(Masked(), Kept(), images[rows], labels[rows])


@kind("scores (N, K, 1, 1)")
def trailing_ones() -> Case:
    """A fully convolutional head."""
    return on_digits(Returning(lambda f, z: z[:, :, None, None]))


@kind("scores (N, 1, K)")
def middle_one() -> Case:
    """One token, as sequence models answer."""
    return on_digits(Returning(lambda f, z: z[:, None]))


@kind("scores after .squeeze(): (K,) of a single row")
def squeezed() -> Case:
    """The last row of a measurement is often alone."""
    return on_digits(Returning(lambda f, z: z[:, :, None].squeeze()))


@kind("dict with one score tensor")
def one_in_dict() -> Case:
    """Beside class numbers and a loss, which cannot be scores."""

    def form(features: Tensor, z: Tensor) -> Any:
        return {"prediction": z.argmax(1), "out": z, "loss": z.sum()}

    return on_digits(Returning(form))


@kind("dict with features, output_key= a name")
def keyed_dict() -> Case:
    """Both are floating (N, *); the key says which."""
    form = lambda f, z: {"features": f, "out": z}  # noqa: E731
    return on_digits(Returning(form), options={"output_key": "out"})


@kind("tuple with features, output_key= a number")
def keyed_tuple() -> Case:
    """(features, logits)."""
    return on_digits(Returning(lambda f, z: (f, z)), options={"output_key": 1})


@kind("NamedTuple, output_key= a name")
def named_tuple() -> Case:
    """Parts with names and numbers."""
    return on_digits(Returning(Named), options={"output_key": "scores"})


@kind("list with one score tensor")
def listed() -> Case:
    """[logits]."""
    return on_digits(Returning(lambda f, z: [z]))


@kind("object with .logits")
def with_logits() -> Case:
    """A dataclass as transformers returns."""
    return on_digits(Returning(lambda f, z: Output(z)))


@kind("dict with logits and features")
def logits_by_name() -> Case:
    """The name "logits" settles it."""
    return on_digits(Returning(lambda f, z: {"features": f, "logits": z}))


@kind("single logit (N, 1)")
def single_logit() -> Case:
    """Sigmoid models without their sigmoid."""
    return _binary(lambda z: z)


@kind("single logit (N,)")
def flat_logit() -> Case:
    """The same after .squeeze(1)."""
    return _binary(lambda z: z.squeeze(1))


@kind('single probability, outputs="probs"')
def single_probability() -> Case:
    """A sigmoid at the end: 1 - p has lost digits that no reader can bring back."""
    return replace(_binary(torch.sigmoid, outputs="probs"), allowed=1e-3)


@kind('probabilities, outputs="probs"')
def probabilities() -> Case:
    """A softmax at the end."""
    return on_digits(Returning(lambda f, z: z.softmax(1)), options={"outputs": "probs"})


@kind("log-probabilities")
def log_probabilities() -> Case:
    """A log_softmax at the end, as for NLLLoss: read as logits."""
    return on_digits(Returning(lambda f, z: z.log_softmax(1)))
