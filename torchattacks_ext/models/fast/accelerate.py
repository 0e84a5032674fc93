"""How does a slow classifier become fast on the path of an attack? By a copy, checked and timed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ConfigError, InputError, ModelContractError
from ..scores import Key, Outputs, check_outputs
from ..session import first_tensor
from ..skeletons import REMEDY, is_skeleton
from .copied import FastModel
from .processor import PRECISIONS, Precision
from .scene import Scene
from .trial import tried


def accelerate(
    model: nn.Module,
    images: Tensor,
    precision: Precision = "fp32",
    compile: bool = False,
    *,
    outputs: Outputs = "logits",
    output_key: Key = None,
) -> FastModel:
    """A copy of `model` that attacks run on: the same decisions, in less time.

    Batch normalisations with running statistics become a part of the convolution or linear layer
    before them (read from the torch.fx graph), the normalisation of a
    :class:`~torchattacks_ext.NormalizedModel` of the first convolution, where that does not pad
    with zeros. Images take the memory layout that is faster, and autocast and torch.compile come
    on top where they are asked for. Every step is checked on `images`: one that changes a decision
    (or, in float32, a logit by more than 1e-4 of the largest) is taken back and named, and so is a
    precision or a compiled graph that is not faster. So the worst case is a plain copy, never
    another model. The original is not changed: modes, parameters, buffers, hooks are as before.

    What an attack finds on the copy is a candidate: let the original, in float32, decide about it,
    as every engine of this package does with its target. In 16 bits some signs of the gradient
    differ, so that attacks take other paths.

    Arguments:
        model (Module): a classifier in eval mode: a batch normalisation in training mode stays.
        images (Tensor): the first batch (N, ...), N >= 1, in the range of the model: what is
            checked and timed. Take the batch size of the attack.
        precision (str): "fp32", or "bf16" or "fp16" by autocast: kept where it is faster, on a GPU
            or a CPU with instructions for it (avx512_bf16, amx_bf16; avx512_fp16, amx_fp16).
            (Default: "fp32")
        compile (bool): torch.compile; with CUDA graphs on a GPU, where every size of a batch is
            recorded anew. The first call takes up to minutes. (Default: False)
        outputs (str): as in every probe: "logits" or "probs". (Default: "logits")
        output_key (str or int): which part of what the model returns are the scores; None looks.

    Returns a :class:`FastModel` from images to logits (N, K) in eval mode or the modes of the
    model. Its `facts()`:

    - `folded`, `pixels_folded`: how many batch normalisations, and whether that of the pixels;
      `kept`: path of each one that stays -> why; `not_folded`: why none was looked at, or None.
    - `layout` ("contiguous", "channels_last"), `precision` ("fp64" of a double model), `compiled`,
      `asked`; `left_out`: what
      was asked for or tried and not kept -> why.
    - `max_logit_difference` and `largest_logit`, `changed_decisions` (0), `equal_gradient_signs`
      (share of the entries, None without a gradient), on `rows` images.
    - `seconds` of forward and gradient: `original`, `copy`, and of all that was `tried`;
      `speed_up`; `timing`: what was timed, and how.

    Raises ModelContractError for a model that cannot be copied, whose copy answers otherwise, or
    that answers otherwise when asked again; ConfigError and InputError for other arguments. Cost:
    some 25 forward and backward row-passes a row of `images`, 40 with a shorter precision or a
    compiled graph, at most 20 s once each was run once; memory for up to three copies.

    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten())
    >>> fast = accelerate(net.eval(), torch.rand(4, 3, 6, 6))
    >>> facts = fast.facts()
    >>> facts["folded"], facts["kept"], facts["changed_decisions"], len(net)
    (1, {}, 0, 4)
    """
    check_outputs(outputs, output_key)
    if precision not in PRECISIONS:
        raise ConfigError(f"precision={precision!r} is not one of {PRECISIONS}")
    if not isinstance(compile, bool):
        raise ConfigError(f"compile={compile!r} must be True or False")
    _check_model(model)
    _check_images(images)
    # inference tensors can have no gradient, and a copy made of them would be of their kind
    with torch.inference_mode(False), torch.enable_grad():
        given = images.detach().clone()
        sample = first_tensor(model)
        given = given if sample is None else given.to(sample.device)
        return tried(Scene(model, given, outputs, output_key), precision, compile)


def _check_model(model: Any) -> None:
    if not isinstance(model, nn.Module):
        raise ModelContractError(
            f"{type(model).__name__} is no nn.Module, and what is behind it cannot be copied: "
            "attack it as it is"
        )
    if is_skeleton(model):
        raise ModelContractError(f"the model has weights {REMEDY}")


def _check_images(images: Any) -> None:
    if not isinstance(images, Tensor) or not images.is_floating_point():
        kind = images.dtype if isinstance(images, Tensor) else type(images).__name__
        raise InputError(f"images are {kind}, expected a floating tensor (N, ...)")
    if images.dim() < 2 or not len(images):
        raise InputError(
            f"images have shape {tuple(images.shape)}, expected at least one row (N, ...)"
        )
