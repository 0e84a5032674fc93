"""What do clean images look like to a model? The reference that later images are held against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...data.door import Bounds
from ...errors import InputError
from ...models.scores import Key, Outputs
from ...results.base.facts import warn_flags
from ...results.monitor.reference import Reference
from .how import Features, How, Score
from .measured import Measured, measure
from .whose import known_as


def fit_reference(
    model: Any,
    data: Any,
    *,
    n: int | None = None,
    score: Score = "fim",
    features: Features = "auto",
    method: str = "auto",
    batch_size: int = 64,
    bounds: Bounds | tuple[int, int] | None = (0, 1),
    outputs: Outputs = "logits",
    output_key: Key = None,
    tag: str | None = None,
    prepared: Mapping[str, Any] | None = None,
    progress: bool = False,
) -> Reference:
    """Features, a score and a hash of each clean image, by one model.

    Args:
        model: Module or callable, pixels (N, ...) to scores (N, K).
        data: clean images of the kind that will come, as they come: images, (images, labels),
            Dataset, DataLoader or iterable of batches. Labels are not looked at. 100 to 4,000.
        n: at most so many, the first ones; None for all.
        score: "fim", log lambda of :class:`~torchattacks_ext.FIMScore`, which needs gradients; or
            of the logits "max_softmax", "energy", "max_logit".
        features: what goes into the last Linear ("penultimate"), the "logits", or "auto": the
            first where there is such a layer.
        method: of FIMScore; "blackbox" asks for scores only.
        batch_size, bounds, outputs, output_key: as everywhere.
        tag: a name of the model, needed where its weights have no hash.
        progress: show a bar.
        prepared: how images were prepared, in JSON types, say {"resize": 224}; a later check must
            say the same.

    Returns:
        A :class:`~torchattacks_ext.results.monitor.Reference`; `save` writes it, `Reference.load`
        reads it. Nothing of the size of images is kept.

    Raises:
        ConfigError: settings outside their domain. InputError: data, too few or too many images,
        features that are no numbers, a score or features that are the same for most images and
        could show no shift. BackendError: a model without gradients for "fim".

    Cost: a forward row-pass an image, and for "fim" one more and K - 1 backward ones.

    >>> from torchattacks_ext.testing.props import balanced_net, example_images
    >>> fit_reference(balanced_net(), example_images(100))
    Reference(n=100, features=16, place=penultimate:7, score=fim)
    """
    how = How(
        score=score,
        features=features,
        method=method,
        batch_size=batch_size,
        bounds=bounds,
        outputs=outputs,
        output_key=output_key,
        prepared=dict(prepared or {}),
    )
    whose = known_as(model, tag)  # refused before any pass
    seen = measure(model, data, how, n=n, progress=progress)
    _refuse_flat(seen, score)
    settings = how.facts() | {"place": seen.place, "shape": list(seen.shape)}
    found = Reference(
        features=seen.features,
        scores=seen.scores,
        ids=seen.ids,
        settings=settings,
        model=whose,
        data={"n": len(seen), "sha256": seen.sha256},
        flags=seen.flags,
        cost=seen.cost,
        provenance=seen.provenance,
    )
    warn_flags(found.flags)
    return found


def _refuse_flat(seen: Measured, score: str) -> None:
    """InputError for numbers that hardly differ: whatever comes would look like them."""
    counts = np.unique(seen.scores.numpy(), return_counts=True)[1]
    if 2 * int(counts.max()) > len(seen):
        why = ""
        if score == "fim":
            why = " (a gradient that is zero or cut?); give score='max_softmax'"
        raise InputError(
            f"{int(counts.max())} of {len(seen)} images have the same {score} score, which could "
            f"show no shift{why}"
        )
    if bool((seen.features == seen.features[0]).all()):
        raise InputError(
            f"the features ({seen.place}) are the same for all images and could show no shift; "
            "give other images, or features='logits'"
        )
