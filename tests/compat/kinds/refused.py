"""Which models cannot be measured as they are, and what is said?"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .case import VERBS, Case, digits, digits_net, kind, on_digits
from .shapes import Returning
from .verbs import hushed


def _refusing(model: Any, words: str) -> Case:
    return on_digits(model, refused=dict.fromkeys(VERBS, words))


class KeywordOnly(nn.Module):
    """Takes pixel_values= by name."""

    def __init__(self) -> None:
        super().__init__()
        self.net = digits_net()

    def forward(self, *, pixel_values: Tensor) -> dict[str, Tensor]:
        """Logits in a dict."""
        return {"logits": self.net(pixel_values)}


class Adapting(nn.Module):
    """Tent: an entropy step on its own parameters in each forward."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.gain = digits_net(), nn.Parameter(torch.ones(10))
        self.steps = torch.optim.SGD([self.gain], 1e-3)

    @torch.enable_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K) before the step."""
        scores = self.net(images) * self.gain
        (-(scores.softmax(1) * scores.log_softmax(1)).sum(1).mean()).backward()
        self.steps.step()
        self.steps.zero_grad()
        return scores


@kind("class numbers, argmax of a callable")
def hard_labels() -> Case:
    """(N,) int64."""
    net = digits_net()
    return _refusing(lambda images: net(images).argmax(1), "class numbers")


@kind("one fixed batch size (torch.export)")
def fixed_batch() -> Case:
    """Exported for eight rows."""
    module = torch.export.export(digits_net(), (digits()[0],)).module()
    return _refusing(module, "takes 8 rows only")


@kind("a forward that trains the model (Tent)")
def adapting() -> Case:
    """Its own backward pass finds frozen parameters."""
    return _refusing(Adapting(), "train itself in its forward")


@kind("BatchNorm without running statistics")
def batch_statistics() -> Case:
    """Single rows have none."""
    net = digits_net()
    norm = nn.BatchNorm1d(64, track_running_stats=False)
    return _refusing(
        nn.Sequential(*net[:6], norm, *net[6:]), "batch statistics refuse single rows"
    )


@kind("keyword-only forward")
def keyword_only() -> Case:
    """forward(*, pixel_values)."""
    return _refusing(KeywordOnly(), "one positional argument")


@kind("features and logits without a key")
def ambiguous() -> Case:
    """Both are floating (N, *)."""
    model = Returning(lambda f, z: {"features": f, "out": z})
    return _refusing(model, "output_key=")


@kind("weights made under inference_mode")
def inference_weights() -> Case:
    """Scores are right; no gradient can pass."""
    plain = digits_net()
    with torch.inference_mode():
        model = digits_net()
        model.load_state_dict(
            {k: v.clone() for k, v in plain.state_dict().items()}, assign=True
        )
    words = "inference_mode"
    return on_digits(model, plain, refused={"FIMScore": words, "MSA": words})


@kind("weights on the meta device")
def meta() -> Case:
    """A skeleton whose weights were never loaded."""
    return _refusing(digits_net().to("meta"), "meta device")


@kind("reentrant checkpoints")
def reentrant() -> Case:
    """They allow no gradient of the images; scores are right."""
    words = "use_reentrant=False"
    with hushed():
        return on_digits(Reentrant(), refused={"FIMScore": words, "MSA": words})


class Reentrant(nn.Module):
    """The convolutions are a checkpoint of the old kind."""

    def __init__(self) -> None:
        super().__init__()
        self.net = digits_net()

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K)."""
        from torch.utils.checkpoint import checkpoint

        z = checkpoint(self.net[:5], images, use_reentrant=True)
        found: Tensor = self.net[5:](z)
        return found
