"""What must encoder and images be before anything is certified? One clear error each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ...data.door import as_tensor, check_images
from ...errors import InputError, ModelContractError, StateError
from ...models.broken import PASSED_ON, model_raised
from ...models.logits import working_dtype
from ...models.modes import in_training
from ...models.session import first_tensor

BOUNDS = (0.0, 1.0)
"""Range of pixels; Lipschitz bounds are in this unit."""


def refuse_training(encoder: nn.Module) -> None:
    """Raises StateError where a module of the encoder is in training mode.

    >>> refuse_training(nn.Flatten().eval())
    """
    odd = next(in_training(encoder), None)
    if odd is not None:
        raise StateError(
            f"{type(odd).__name__} is in training mode; a certificate is of the deployed model: "
            "call .eval() first"
        )


def refuse_short(encoder: nn.Module) -> None:
    """Raises ModelContractError where the encoder has numbers of fewer than 32 bits.

    >>> refuse_short(nn.Linear(2, 2))
    """
    tensors = (*encoder.parameters(), *encoder.buffers())
    short = [t.dtype for t in tensors if t.is_floating_point() and t.itemsize < 4]
    if short:
        raise ModelContractError(
            f"the encoder computes in {short[0]}, whose rounding no certificate covers; use "
            "encoder.float()"
        )


def prepared(model: nn.Module, images: Any) -> Tensor:
    """Images as checked pixels in [0, 1] on the model's device, in its dtype."""
    found = as_tensor(images, "images").detach()
    place = first_tensor(model)
    if place is not None:
        found = found.to(place.device)
    return check_images(found, BOUNDS, working_dtype(model))


def same_shape(images: Tensor, shape: tuple[int, ...] | None) -> tuple[int, ...]:
    """The shape of one image; raises InputError where earlier ones had another."""
    found = tuple(images.shape[1:])
    if shape not in (None, found):
        raise InputError(
            f"images of shape {found} after {shape}: a Lipschitz bound is for one shape; certify "
            "each by itself"
        )
    return found


def encoded(
    encode: Callable[[Tensor], Tensor], images: Tensor, model: nn.Module
) -> Tensor:
    """Latents (N, d) without a graph and without autocast; the caller's images stay untouched.

    What the encoder raises is a ModelContractError with the original as its cause.
    """
    try:
        with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
            return encode(images.clone())
    except PASSED_ON:
        raise
    except Exception as error:
        raise model_raised(error, images, (), model) from error
