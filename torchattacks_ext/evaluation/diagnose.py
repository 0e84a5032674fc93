"""Does a model mask its gradients? The stage of that name on one model and one set of images."""

from __future__ import annotations

import warnings
from typing import Any

from torch import Tensor

from .._typing import Norm
from ..errors import ModelContractError, ReliabilityWarning
from ..numerics.arguments import parse_seed
from ..numerics.norms import Bounds
from ..results.diagnosis.diagnosis import Diagnosis
from .runner import evaluate

STAGE = "diagnostics"


def diagnose(
    model: Any,
    images: Tensor,
    labels: Tensor,
    eps: float = 8 / 255,
    norm: Norm = "Linf",
    surrogates: Any = (),
    seed: int = 0,
    *,
    steps: int = 40,
    queries: int = 1000,
    draws: int = 50,
    sweep_steps: int = 10,
    n_noise: int = 10,
    batch_size: int = 256,
    bounds: Bounds | None = (0.0, 1.0),
    outputs: str = "logits",
) -> Diagnosis:
    """May the numbers of gradient attacks on this model be believed? Checks as data, and a verdict.

    Looks at answers and gradients before any attack, then at the paths of short ones: APGD on the
    cross-entropy and on the margin with `steps` and half of them, random search and Square on what
    those leave, and short runs at larger radii. docs/diagnostics.md says what each check means. A
    model that answers at random or by the batch is named as such, and not attacked here.

    Args:
        model: Module or callable, pixels (N, ...) to scores (N, K).
        images: (N, ...) in `bounds`.
        labels: (N,) in [0, K).
        eps: radius > 0 of the ball, in pixel units.
        norm: "Linf", "L2" or "L1".
        surrogates: sequence or dict of models of the same images, or "auto", as in
            :class:`~torchattacks_ext.MSA`.
        seed: of every random number, which follow (seed, content of the image).
        steps: of each gradient run, even and >= 20.
        queries: of Square, on images that no gradient run broke.
        draws: corners of the ball that random search asks about.
        sweep_steps: of the runs at larger radii.
        n_noise: draws of noise around each image.
        batch_size: most rows a call of the model.
        bounds: finite (low, high) of a pixel.
        outputs: "logits" or "probs".

    Returns:
        A :class:`~torchattacks_ext.Diagnosis`: `.masked`, `.causes`, `.checks`, `.text()`.

    Raises:
        ConfigError: a setting outside its domain.
        InputError: images or labels that cannot be.
        ModelContractError: a model that gives no finite scores, or raises on all images.

    Cost of an image that withstands everything: about 1,400 forward and 200 backward row-passes.
    Sources: Athalye et al. 2018, Carlini et al. 2019, Croce & Hein 2020, Tramer et al. 2020,
    Pintor et al. 2022; each check names its own.

    >>> import torch
    >>> from torchattacks_ext.testing import Quantised, small_net
    >>> net = small_net().eval()
    >>> images = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> labels = net(images).argmax(1)
    >>> diagnose(Quantised(net, 16), images, labels, eps=0.1, queries=20).causes[0]
    'quantised_input'
    """
    from .plan import check_plan  # pydantic is slow to import

    stage = {
        "name": STAGE,
        "steps": steps,
        "queries": queries,
        "draws": draws,
        "sweep_steps": sweep_steps,
        "n_noise": n_noise,
    }
    if surrogates != ():
        stage["surrogates"] = surrogates
    plan = check_plan(
        {
            "eps": eps,
            "norm": norm,
            "seed": parse_seed(seed),
            "batch_size": batch_size,
            "bounds": bounds,
            "outputs": outputs,
            "stages": [stage],
        }
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)  # the flags are the answer
        report = evaluate(model, (images, labels), plan)[STAGE]
    if not isinstance(report.result, Diagnosis):
        raise ModelContractError(f"the diagnosis has no result: {report.error}")
    return report.result
