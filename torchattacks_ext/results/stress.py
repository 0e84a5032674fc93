"""How often is the model right on corrupted images? One count a corruption and severity."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from .._typing import Status
from ..errors import ConfigError, StatusError
from ..numerics.populations.mce import ALEXNET, corruption_errors
from ..numerics.populations.means import mean_interval
from .base.columns import column
from .base.shares import check_confidence, left_out, reached, share_between
from .sample import Sample

PUBLISHED = (
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "defocus_blur",
    "glass_blur",
    "motion_blur",
    "zoom_blur",
    "snow",
    "frost",
    "fog",
    "brightness",
    "contrast",
    "elastic_transform",
    "pixelate",
    "jpeg_compression",
)
"""The fifteen of CIFAR-10-C and ImageNet-C, over which means are taken."""
_IMAGENET = 1000
Baseline = Mapping[str, float] | str


class StressShare(NamedTuple):
    """Share of images that are right under one corruption, and its exact interval."""

    corruption: str
    severity: int
    value: float
    low: float
    high: float


def _outcomes() -> Any:
    return column(torch.int16, "decision", nullable=True, missing=-1)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Stress(Sample):
    """Answers to corrupted images; one row an image, right and wrong ones alike.

    Arguments:
        status (Tensor): (N,) int8 codes of :class:`Status`.
        reference (Tensor): (N,) int64 labels.
        clean_correct (Tensor): (N,) int8, 1 or 0; -1 where the model raised.
        gaussian_noise, shot_noise, impulse_noise, speckle_noise (Tensor): (N,) int16, one column a
            corruption: bit s - 1 says whether the image is answered rightly at severity s; -1
            where it was not run.
        defocus_blur, glass_blur, motion_blur, zoom_blur, gaussian_blur (Tensor): likewise.
        snow, frost, fog, frost_procedural, spatter (Tensor): likewise.
        brightness, contrast, saturate, pixelate, jpeg_compression (Tensor): likewise.
        elastic_transform, rotation, translation (Tensor): likewise.

    Settings name the `corruptions` and `severities` that were run, whose `parameters`, and
    `n_classes`. Shares are over all rows, not only over those that are right when clean.

    >>> from torchattacks_ext import evaluate
    >>> images = torch.linspace(0.4, 0.6, 4).view(-1, 1, 1, 1).expand(-1, 1, 8, 8)
    >>> plan = {"eps": 0, "stages": [{"name": "stress", "corruptions": ["brightness"]}]}
    >>> light = lambda images: images.flatten(1)[:, :2] * torch.tensor([4.0, -4.0])
    >>> found = evaluate(light, (images, torch.tensor([0, 0, 0, 1])), plan)["stress"].result
    >>> found.share("brightness", 5).value, found.mean_accuracy()
    (0.75, 0.75)
    """

    schema: ClassVar[str] = "stress/1"

    status: Tensor = column(torch.int8, "decision", enum=Status)
    reference: Tensor = column(torch.int64, "decision")
    clean_correct: Tensor = column(torch.int8, "decision", nullable=True)
    gaussian_noise: Tensor = _outcomes()
    shot_noise: Tensor = _outcomes()
    impulse_noise: Tensor = _outcomes()
    defocus_blur: Tensor = _outcomes()
    glass_blur: Tensor = _outcomes()
    motion_blur: Tensor = _outcomes()
    zoom_blur: Tensor = _outcomes()
    snow: Tensor = _outcomes()
    frost: Tensor = _outcomes()
    fog: Tensor = _outcomes()
    brightness: Tensor = _outcomes()
    contrast: Tensor = _outcomes()
    elastic_transform: Tensor = _outcomes()
    pixelate: Tensor = _outcomes()
    jpeg_compression: Tensor = _outcomes()
    speckle_noise: Tensor = _outcomes()
    gaussian_blur: Tensor = _outcomes()
    spatter: Tensor = _outcomes()
    saturate: Tensor = _outcomes()
    frost_procedural: Tensor = _outcomes()
    rotation: Tensor = _outcomes()
    translation: Tensor = _outcomes()

    # ------------------------------------------------------------------ what was run
    @property
    def corruptions(self) -> tuple[str, ...]:
        """Names that were run, in their order."""
        return tuple(self.settings.get("corruptions", ()))

    @property
    def severities(self) -> tuple[int, ...]:
        """Severities that were run."""
        return tuple(self.settings.get("severities", ()))

    @property
    def published(self) -> tuple[str, ...]:
        """Names of the fifteen that were run, in the order of the publication."""
        return tuple(name for name in PUBLISHED if name in self.corruptions)

    @property
    def answered(self) -> Tensor:
        """(N,) bool: rows with answers; FAILED ones and those NOT_REACHED have none."""
        return reached(self.status)

    def right(self, corruption: str, severity: int) -> Tensor:
        """(N,) bool: rows that are answered rightly. Raises StatusError for what was not run."""
        if corruption not in self.corruptions or severity not in self.severities:
            raise StatusError(
                f"{corruption!r} at severity {severity!r} was not run; run were "
                f"{', '.join(self.corruptions)} at {list(self.severities)}"
            )
        codes: Tensor = getattr(self, corruption)
        return (codes >= 0) & ((codes >> (severity - 1)) & 1 == 1)

    # ------------------------------------------------------------------ shares
    def share(
        self, corruption: str, severity: int, confidence: float = 0.95
    ) -> StressShare:
        """Accuracy over all rows under one corruption, with its exact interval.

        Two-sided (Clopper & Pearson 1934), for a new image of the same source; [0, 1] where rows
        were chosen. Rows on which the model raised are wrong, and may be right for the upper end.
        nan without rows. Raises ConfigError for a confidence outside (0, 1), StatusError for what
        was not run.
        """
        check_confidence(confidence)
        k = int(self.right(corruption, severity).sum())
        late = int((~self.answered).sum())
        said = self.chosen, self.n_copies
        ends, (low, high) = share_between(k, late, len(self), confidence, *said)
        return StressShare(corruption, severity, ends[0], low, high)

    def mean_right(self, names: Sequence[str] | None = None) -> Tensor:
        """(N,) float64: the part of these corruptions and severities at which a row is right.

        names: default :attr:`published`. nan where there are none.
        """
        wanted = self.published if names is None else tuple(names)
        cells = [self.right(name, s) for name in wanted for s in self.severities]
        if not cells:
            return torch.full((len(self),), math.nan, dtype=torch.float64)
        return torch.stack(cells).double().mean(0)

    def mean_accuracy(self, names: Sequence[str] | None = None) -> float:
        """Mean accuracy over these corruptions and their severities; nan without any.

        names: default :attr:`published`: no name that is not of CIFAR-10-C is in it.
        """
        found = self.mean_right(names)
        return float(found.mean()) if len(found) else math.nan

    def mean_accuracy_interval(
        self, confidence: float = 0.95, names: Sequence[str] | None = None
    ) -> tuple[float, float]:
        """Ends for the mean accuracy of new images of the source, valid for any number of rows.

        Corruptions and severities are those that were run; the draw of each belongs to its image.
        As :func:`~.means.mean_interval`, the rows in the order of their ids. (0, 1) where rows were
        chosen or are there twice. Rows on which the model raised count as in :meth:`share`.
        """
        check_confidence(confidence)
        found = self.mean_right(names)[self.ids.argsort(stable=True)]
        if (
            self.chosen is not None
            or self.n_copies
            or not len(found)
            or bool(found.isnan().any())
        ):
            return 0.0, 1.0
        late = (~self.answered)[self.ids.argsort(stable=True)]
        low, high = mean_interval(found.numpy(), confidence)
        if bool(late.any()):
            found = torch.where(late, 1.0, found)
            _, high = mean_interval(found.numpy(), confidence)
        return low, high

    # ------------------------------------------------------------------ beside a baseline
    def corruption_errors(
        self, baseline: Baseline | None = None, *, relative: bool = False
    ) -> dict[str, float]:
        """CE of each published corruption that was run; see :func:`.mce.corruption_errors`.

        baseline: name -> mean error over severities 1 .. 5 (and "clean" for relative ones), or
        "alexnet", built in for ImageNet-C. Raises ConfigError without one ("no baseline"), for
        "alexnet" where the run is not of ImageNet-C's numbers and 1,000 classes, and unless all
        five severities were run.
        """
        known = self._baseline(baseline)
        if sorted(self.severities) != [1, 2, 3, 4, 5]:
            raise ConfigError(
                f"severities {list(self.severities)} were run; a corruption error is over 1 .. 5"
            )
        errors = {
            name: [1 - self.share(name, s).value for s in self.severities]
            for name in self.published
        }
        right = int((self.clean_correct == 1).sum())
        clean = 1 - right / len(self) if len(self) else math.nan
        return corruption_errors(errors, known, clean if relative else None)

    def mce(self, baseline: Baseline | None = None, *, relative: bool = False) -> float:
        """The mean of :meth:`corruption_errors` over all fifteen; 1 = as bad as the baseline.

        Raises ConfigError also where one of the fifteen was not run.
        """
        found = self.corruption_errors(baseline, relative=relative)
        missing = [name for name in PUBLISHED if name not in found]
        if missing:
            raise ConfigError(
                f"no mCE without {', '.join(missing)}: it is the mean over all fifteen; run it, or "
                "take corruption_errors"
            )
        return sum(found.values()) / len(found)

    def _baseline(self, given: Baseline | None) -> Mapping[str, float]:
        if given is None or (isinstance(given, str) and given != "alexnet"):
            raise ConfigError(
                "no baseline: CIFAR-10-C has none; give {name: error}, or 'alexnet' for ImageNet-C"
                + ("" if given is None else f", not {given!r}")
            )
        if not isinstance(given, str):
            return given
        ours = self.settings.get("parameters"), self.settings.get("n_classes")
        if ours != ("imagenet", _IMAGENET):
            raise ConfigError(
                f"no baseline: AlexNet's errors are of ImageNet-C ({_IMAGENET:,} classes), this "
                f"run has {ours[1]} classes and the numbers of {ours[0]!r}"
            )
        return ALEXNET

    # ------------------------------------------------------------------ summary
    def summary(self, confidence: float = 0.95) -> dict[str, Any]:
        """Mean accuracy over the published names, the accuracies of each, and mCE where there is
        a baseline.

        `over`: the names in the mean. `accuracy`: name -> one value a severity. `left_out` says why
        there is no `mce`. Raises ConfigError for a confidence outside (0, 1).
        """
        mean, copies = self.mean_accuracy(), "images that occur more than once"
        doubt = self.chosen or (copies if self.n_copies else None)
        found: dict[str, Any] = {
            "n": len(self),
            "mean_accuracy": mean,
            "mean_accuracy_interval": list(self.mean_accuracy_interval(confidence)),
            "mean_corruption_error": 1 - mean,
            "over": list(self.published),
            "severities": list(self.severities),
            "accuracy": {
                name: [self.share(name, s).value for s in self.severities]
                for name in self.corruptions
            },
            "confidence": confidence,
        }
        why: str | None = None
        try:
            found["mce"] = self.mce("alexnet")
            found["relative_mce"] = self.mce("alexnet", relative=True)
        except ConfigError as error:
            why = str(error)
        late = len(self) - int(self.answered.sum())
        return {
            **found,
            **({"failed": late} if late else {}),
            **left_out({"mce": why, "mean_accuracy_interval": doubt}),
            **self.group_summaries(confidence),
        }
