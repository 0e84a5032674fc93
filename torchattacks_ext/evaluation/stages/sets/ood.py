"""Do scores of the model tell the evaluated images from others? Near, far and noise as a stage."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from ....data.stream import Batch
from ....numerics.detection.scores import LOGIT_SCORES
from ....numerics.ids import content_hashes
from ....results.base import codec
from ....results.base.columns import Rows, Table
from ....results.base.facts import Flag
from ....results.base.result import Result
from ....results.datasets.ood import SCORES, OODScores, OutsideSet, nothing
from ...plan import Plan
from ..base import SetStage, Shared, StageRows, Whole
from ..clean import labels_of, status_of
from ..fim import build_score
from ..probing import origin_of, refuse_unknown
from . import detectors as foreign
from .asked import ARGUMENTS, what_is_asked
from .scored import fim_scores, logit_scores
from .source import Source, noise


class OODStage(SetStage):
    """How well scores of the model tell the evaluated images from near, far and noise sets.

    Arguments: near, far, a data set each or {name: data set}: a name such as "npz:PATH" or, in
    Python, images, (images, labels), a Dataset or a DataLoader; labels are not looked at. noise,
    one or a list of "uniform" and "gaussian", or False (default "uniform"). scores, a list of
    "max_softmax", "energy", "max_logit" and "fim" (default all that the outputs have). detectors, a
    list of objects with `predict`, or "module:Class" that is made from the model; train, the
    labelled images on which those are fitted that need it. n, at most so many images of each set
    (default 1,000). adapt=True brings images of other sizes or channels to the evaluated ones.
    Raises ConfigError for others, for values outside their domains, and for no set at all.
    """

    kind = "ood"
    guarantee = (
        "how well the order of a score tells these images from these other sets; it is no detector "
        "with a threshold, and says nothing of other sets or of an attacker"
    )
    citation: ClassVar[str] = """@inproceedings{hendrycks2017baseline,
  author    = {Hendrycks, Dan and Gimpel, Kevin},
  title     = {A Baseline for Detecting Misclassified and Out-of-Distribution Examples},
  booktitle = {International Conference on Learning Representations},
  year      = {2017},
  note      = {arXiv:1610.02136}
}
@inproceedings{liu2020energy,
  author    = {Liu, Weitang and Wang, Xiaoyun and Owens, John and Li, Yixuan},
  title     = {Energy-based Out-of-distribution Detection},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2020},
  note      = {arXiv:2010.03759}
}"""

    def __init__(self, label: str, plan: Plan, settings: Mapping[str, Any]) -> None:
        super().__init__(label, plan, settings)
        refuse_unknown(self.kind, settings, ARGUMENTS)
        self._asked = asked = what_is_asked(settings, plan)
        self._fim = build_score(plan, {"kl": False}) if "fim" in asked.scores else None
        self.settings = {"scores": list(asked.scores)} | self.settings
        self._origin: Mapping[str, Any] = {}

    @property
    def cost_per_image(self) -> float | None:
        """Row-passes of an evaluated image, of ten classes where the FIM score is asked for."""
        passes = float(any(name in LOGIT_SCORES for name in self._asked.scores))
        return (
            passes
            + (10.0 if self._fim is not None else 0.0)
            + len(self._asked.detectors)
        )

    @property
    def cost_once(self) -> float:
        """Those of the other sets; of a set without a length, and of noise, as if it were full."""
        asked, each = self._asked, self.cost_per_image or 0.0
        known = sum(source.size or asked.n for _, source in asked.sources)
        fitted = 0 if asked.train is None else asked.train.size or 0
        return each * (known + asked.n * len(asked.noises)) + fitted

    @property
    def notes(self) -> tuple[str, ...]:
        """What is not counted, and what was done to the images."""
        made = [
            n for n, one in self._asked.detectors.items() if not isinstance(one, str)
        ]
        found = [f"{name}: {foreign.PASSES}" for name in made]
        if self.settings.get("adapt"):
            found.append(
                "images of other sizes were scaled and their channels repeated or averaged: a "
                "score may tell the scaling, not the content"
            )
        return tuple(found)

    def rows(self, batch: Batch, shared: Shared) -> StageRows:
        """Scores of every evaluated row, right or wrong; detectors have their turn at the end."""
        if not self._origin:
            self._origin = origin_of(shared, batch.images.device, self.plan)
        clean, labels = shared.clean, labels_of(batch)
        found = logit_scores(shared.logits(batch), self._asked.scores)
        if self._fim is not None:
            found["fim"] = fim_scores(self._fim, shared.view, batch)
        columns = {
            "ids": batch.ids.cpu(),
            "status": status_of(clean),
            "reference": labels.cpu(),
            "prediction": torch.from_numpy(clean.prediction),
            "clean_correct": torch.from_numpy(~clean.failed).to(torch.int8),
            **{name: found.get(name, nothing(len(batch))) for name in SCORES},
        }
        facts = {"method": self.kind, "scores": list(self._asked.scores)}
        result = OODScores.from_table(
            Table([Rows(torch.arange(len(batch)), columns)]),
            settings=facts | {"outputs": self.plan.outputs, "seed": self.plan.seed},
            provenance=self._origin,
            groups=batch.groups,
        )
        return StageRows(result)

    def failed(self, batch: Batch) -> Rows:
        """Rows without a score."""
        none = torch.full((len(batch),), -1)
        columns = {
            "ids": batch.ids.cpu(),
            "status": none.to(torch.int8),
            "reference": labels_of(batch).cpu(),
            "prediction": none,
            "clean_correct": none.to(torch.int8),
            **{name: nothing(len(batch)) for name in SCORES},
        }
        return Rows(batch.index, columns)

    def reduce(self, features: Result, whole: Whole) -> Result:
        """The other sets scored, and whatever detectors say of both sides."""
        assert isinstance(features, OODScores)
        shape = whole.shape
        made = {
            n: foreign.built(one, whole.view)
            for n, one in self._asked.detectors.items()
        }
        fits = self._fitted(made, whole, shape)
        columns = self._inside(features, made, whole) if made else {}
        sets = [
            self._set(source.name, kind, source.told, whole, made, parts)
            for kind, source, parts in self._parts(whole, shape, len(features))
        ]
        facts = {"sets": [one.facts() for one in sets]}
        result = replace(
            features,
            outside=tuple(sets),
            settings={
                **features.settings,
                **facts,
                **({"detectors": fits} if made else {}),
            },
            extra={**features.extra, **({"columns": columns} if columns else {})},
        )
        return result.with_flags(_doubts(result))

    def _parts(
        self, whole: Whole, shape: tuple[int, ...], n: int
    ) -> Iterator[tuple[str, Source, Iterator[Batch]]]:
        """Kind, source and batches of each set, the noise last."""
        drawn, most = [], min(n, self._asked.n)
        for name in self._asked.noises:
            images = noise(name, most, shape, self.plan)
            drawn.append(("noise", Source(name, images, told="drawn")))
        for kind, source in [*self._asked.sources, *drawn]:
            yield kind, source, source.batches(whole, self.plan, shape)

    def _set(
        self,
        name: str,
        kind: str,
        told: str,
        whole: Whole,
        made: Mapping[str, Any],
        batches: Iterator[Batch],
    ) -> OutsideSet:
        hashes: list[Tensor] = []
        parts: dict[str, list[Tensor]] = {n: [] for n in (*self._asked.scores, *made)}
        for batch in batches:
            hashes.append(content_hashes(batch.images, None, self.plan.box))
            for key, values in self._of(batch, whole, made).items():
                parts[key].append(values)
        ids = torch.cat(hashes).sort().values
        return OutsideSet(
            name=name,
            kind=kind,
            n=len(ids),
            scores={k: tuple(torch.cat(v).tolist()) for k, v in parts.items()},
            copies=int((ids.diff() == 0).sum()),
            source=told,
            sha256=hashlib.sha256(ids.numpy().tobytes()).hexdigest(),
        )

    def _of(
        self, batch: Batch, whole: Whole, made: Mapping[str, Any]
    ) -> dict[str, Tensor]:
        """Every score (n,) of a batch from outside."""
        with torch.no_grad():
            found = logit_scores(whole.view(batch.images), self._asked.scores)
        if self._fim is not None:
            found["fim"] = fim_scores(self._fim, whole.view, batch)
        return found | {n: foreign.scored(one, batch.images) for n, one in made.items()}

    def _fitted(
        self, made: Mapping[str, Any], whole: Whole, shape: tuple[int, ...]
    ) -> dict[str, Any]:
        """name -> on what it was fitted here; None where it was not."""
        fits: dict[str, Any] = dict.fromkeys(made)
        if self._asked.train is not None:
            batches = list(self._asked.train.batches(whole, self.plan, shape))
            pairs = [(batch.images, labels_of(batch)) for batch in batches]
            ids = torch.cat([batch.ids.cpu() for batch in batches]).sort().values
            told = {
                "n": len(ids),
                "sha256": hashlib.sha256(ids.numpy().tobytes()).hexdigest(),
            }
            for name, one in made.items():
                if foreign.needs_fit(one):
                    foreign.fit(one, pairs, pairs[0][0].device)
                    fits[name] = told
        return fits

    def _inside(
        self, features: OODScores, made: Mapping[str, Any], whole: Whole
    ) -> dict[str, list[Any]]:
        """name -> the score of each evaluated row in JSON types, nan where there is none."""
        found = {name: nothing(len(features)) for name in made}
        for batch in whole.again():
            rows = features.find(batch.ids)
            for name, one in made.items():
                values = foreign.scored(one, batch.images)
                found[name][rows[rows >= 0]] = values[rows >= 0]
        return {name: codec.plain(values) for name, values in found.items()}


def _doubts(result: OODScores) -> Iterator[Flag]:
    """Images of a set that are there twice; scores that tell nothing apart."""
    copies = sum(one.copies for one in result.outside)
    if copies:
        names = ", ".join(one.name for one in result.outside if one.copies)
        text = f"images of {names} occur more than once: no interval is given"
        yield Flag("ood_copies", text, copies)
    flat = [
        f"{score} on {one.name}"
        for one in result.outside
        for score in result.scores
        if len(set(torch.cat(result.pair(score, one.name)).tolist())) < 2
    ]
    if flat:
        text = f"all images have the same score, or none: {', '.join(flat)}"
        yield Flag("flat_score", text)
