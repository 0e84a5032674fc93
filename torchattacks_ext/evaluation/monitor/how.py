"""What is measured of an image? A score and features; settings that are checked once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import torch

from ...attacks.fimscore.fimscore import FIMScore
from ...data.door import Bounds, as_bounds
from ...errors import ConfigError, InputError
from ...models.scores import Key, Outputs, check_outputs
from ...numerics.arguments import parse_whole
from ...numerics.detection.scores import UNNORMALISED
from ...results.base import codec
from ...results.datasets.ood import SCORES
from ..stages.probing import stand_in

Score = Literal["fim", "max_softmax", "energy", "max_logit"]
Features = Literal["auto", "penultimate", "logits"]
FEATURES = ("auto", "penultimate", "logits")


@dataclass(frozen=True, kw_only=True, eq=False)
class How:
    """How images are measured; arguments are those of :func:`~.fit.fit_reference`.

    Raises ConfigError for values outside their domains.

    >>> How(score="max_softmax").facts()["score"]
    'max_softmax'
    """

    score: Score = "fim"
    features: Features = "auto"
    method: str = "auto"
    batch_size: int = 64
    bounds: Any = (0, 1)
    outputs: Outputs = "logits"
    output_key: Key = None
    prepared: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.score not in SCORES:
            raise ConfigError(f"score={self.score!r} is not one of {', '.join(SCORES)}")
        if self.features not in FEATURES:
            raise ConfigError(f"features={self.features!r} is not one of {FEATURES}")
        check_outputs(self.outputs, self.output_key)
        if self.outputs == "probs" and self.score in UNNORMALISED:
            raise ConfigError(
                f"score={self.score!r} needs logits, and outputs='probs' gives none; take "
                "'max_softmax' or 'fim'"
            )
        if not isinstance(self.prepared, Mapping):
            raise ConfigError(f"prepared={self.prepared!r} must be a dict, or left out")
        size = parse_whole(self.batch_size, "batch_size", 1)
        object.__setattr__(self, "batch_size", size)
        self.probe()

    @property
    def box(self) -> Bounds | None:
        """The bounds as numbers or tensors; None for none."""
        return as_bounds(self.bounds)

    def probe(self) -> FIMScore | None:
        """What gives the score; None where logits alone do."""
        if self.score != "fim":
            return None
        return FIMScore(
            stand_in,
            method=cast(Any, self.method),
            kl=False,
            batch_size=self.batch_size,
            bounds=self.bounds,
            outputs=self.outputs,
            output_key=self.output_key,
        )

    def facts(self) -> dict[str, Any]:
        """What must be the same for two images to be comparable, in JSON types."""
        box, bounds = self.box, None
        if box is not None:
            bounds = [torch.as_tensor(side).tolist() for side in box]
        found: dict[str, Any] = {
            "score": self.score,
            "bounds": bounds,
            "outputs": self.outputs,
            "output_key": self.output_key,
            "prepared": dict(self.prepared),
        }
        if self.score == "fim":
            found["method"] = self.method
        plain: dict[str, Any] = codec.plain(found)
        return plain

    @classmethod
    def of(
        cls, settings: Mapping[str, Any], prepared: Mapping[str, Any], batch_size: int
    ) -> How:
        """That of a reference. Raises InputError for settings that are none, ConfigError where the
        images were prepared in another way.
        """
        try:
            bounds = settings["bounds"]
            if bounds is not None:
                low, high = (torch.as_tensor(side) for side in bounds)
                bounds = (low, high) if low.dim() else (float(low), float(high))
            how = cls(
                score=settings["score"],
                method=settings.get("method", "auto"),
                bounds=bounds,
                outputs=settings["outputs"],
                output_key=settings["output_key"],
                prepared=settings["prepared"],
                batch_size=batch_size,
            )
        except (KeyError, TypeError, ValueError, ConfigError) as error:
            raise InputError(
                f"the settings of the reference cannot be read ({error}); fit it again"
            ) from error
        odd = codec.differences(how.prepared, prepared)
        if odd:
            said = "; ".join(
                f"{key} was {was!r}, is now {now!r}" for key, (was, now) in odd.items()
            )
            raise ConfigError(
                f"images were prepared in another way for the reference: {said}; prepare them "
                "likewise, or fit a reference for this way"
            )
        return how
