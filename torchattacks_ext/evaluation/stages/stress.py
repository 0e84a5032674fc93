"""How often is the model right on corrupted images? Corruptions and severities as a stage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..._typing import Status
from ...data.corrupted import CorruptedFolder
from ...data.stream import Batch
from ...engines.judge.active import keyed
from ...errors import ConfigError, InputError
from ...results.base.columns import Rows, Table
from ...results.base.facts import Flag
from ...results.base.result import Result
from ...results.stress import Stress
from ...samplers.corruptions import (
    FROST,
    PUBLISHED,
    SEVERITIES,
    Corruption,
    check_name,
    parameters_for,
)
from ..plan import Plan
from .base import RowStage, Shared, StageRows, Tally
from .clean import labels_of
from .probing import origin_of, refuse_unknown

ARGUMENTS = ("corruptions", "severities", "parameters", "textures", "folder")
PROCEDURAL = "frost_procedural"
FEW = 3
"""Corruptions that are named where a mean lacks them; more are counted only."""
PIECE = 2**21
"""Features that are drawn at a time: a law works in float64."""
COLUMNS = tuple(s.name for s in Stress.columns() if s.missing is not None)


class StressStage(RowStage):
    """Accuracy under the corruptions of CIFAR-10-C and ImageNet-C, severities 1 to 5.

    Arguments: corruptions, a list of names (default: the fifteen, frost by photographs where
    textures= names a folder of them, else `frost_procedural`, which is in no mean); severities, a
    list of some of 1 .. 5 (default all); parameters and textures as in
    :class:`~torchattacks_ext.samplers.Corruption`; folder, of published `.npy` files that are read
    in place of drawing: image i of the data must be image i of the test set there. The draws of all
    severities of one corruption share their random numbers, keyed by the plan's seed, the image's
    id and the corruption. The plan's ball plays no part. Raises ConfigError for others, for values
    outside their domains and for bounds other than (0, 1).
    """

    kind = "stress"
    guarantee = (
        "accuracy over all images under these corruptions; exact on these images and draws, the "
        "intervals are for new images of the same source; no claim about an attacker"
    )
    citation: ClassVar[str] = """@inproceedings{hendrycks2019benchmarking,
  author    = {Hendrycks, Dan and Dietterich, Thomas},
  title     = {Benchmarking Neural Network Robustness to Common Corruptions and Perturbations},
  booktitle = {International Conference on Learning Representations},
  year      = {2019},
  note      = {arXiv:1903.12261}
}"""

    def __init__(self, label: str, plan: Plan, settings: Mapping[str, Any]) -> None:
        super().__init__(label, plan, settings)
        refuse_unknown(self.kind, settings, ARGUMENTS)
        if plan.bounds is None or any(
            bool((torch.as_tensor(s) != w).any()) for s, w in zip(plan.bounds, (0, 1))
        ):
            raise ConfigError(
                f"stage 'stress' needs bounds=(0, 1), not {plan.bounds!r}: corruptions are defined "
                "there"
            )
        self._folder = _folder(settings)
        textures = settings.get("textures")
        self._names = _names(settings.get("corruptions"), textures, self._folder)
        self._severities = _severities(settings.get("severities"))
        self._parameters: Any = settings.get("parameters", "auto")
        self._laws = {} if self._folder else self._built(textures)
        self._origin: Mapping[str, Any] = {}
        self._facts: dict[str, Any] = {}

    def _built(self, textures: Any) -> dict[tuple[str, int], Corruption]:
        return {
            (name, severity): Corruption(
                name,
                severity,
                parameters=self._parameters,
                textures=textures if name == FROST else None,
            )
            for name in self._names
            for severity in self._severities
        }

    @property
    def cost_per_image(self) -> float | None:
        """One forward row-pass a corruption and severity."""
        return float(len(self._names) * len(self._severities))

    @property
    def notes(self) -> tuple[str, ...]:
        """What a mean over these names is not."""
        kept = [name for name in PUBLISHED if name in self._names]
        if len(kept) in (0, len(PUBLISHED)):
            return ()
        missing = [name for name in PUBLISHED if name not in self._names]
        without = f", without {', '.join(missing)}" * (len(missing) <= FEW)
        return (
            f"the mean is over {len(kept)} of the {len(PUBLISHED)} published corruptions{without}: "
            "not the number of a leaderboard",
        )

    def unfit(self, n_classes: int, shape: tuple[int, ...]) -> str | None:
        """Images that are no pictures."""
        if self._folder is not None or len(shape) == 3:
            return None
        return f"images have shape {shape}; stage 'stress' needs pictures (C, H, W)"

    def rows(self, batch: Batch, shared: Shared) -> StageRows:
        """Answers to every corruption of every row, right or wrong when clean."""
        labels, clean = labels_of(batch), shared.clean
        self._begin(batch, shared)
        if self._folder is not None:
            _check_folder(self._folder, batch, labels)
        with torch.no_grad():
            codes, finite, equal = self._answers(batch, labels, shared)
        finite &= torch.from_numpy(clean.finite)
        rows = _table(batch, labels, codes)
        rows["status"] = torch.where(finite, int(Status.OK), int(Status.NON_FINITE)).to(
            torch.int8
        )
        rows["clean_correct"] = torch.from_numpy(~clean.failed).to(torch.int8)
        result: Result = Stress.from_table(
            Table([Rows(torch.arange(len(batch)), rows)]),
            settings=self._facts,
            provenance=self._origin,
            groups=batch.groups,
        )
        pairs = [[*key, count] for key, count in equal.items()]
        return StageRows(result, tally={"n": len(batch), "equal": pairs})

    def _answers(
        self, batch: Batch, labels: Tensor, shared: Shared
    ) -> tuple[dict[str, Tensor], Tensor, Counter[tuple[str, int, int]]]:
        """Codes (n,) of each corruption, whether all logits of a row were finite, equal pixels.

        Those are counts of rows by corruption and pair of severities.
        """
        n, equal = len(batch), Counter[tuple[str, int, int]]()
        finite = torch.ones(n, dtype=torch.bool)
        codes = {name: torch.zeros(n, dtype=torch.int16) for name in self._names}
        for name, code in codes.items():
            seen: dict[int, Tensor] = {}
            for severity in self._severities:
                images = self._images(name, severity, batch)
                judged = shared.judge.judge(n, partial(_part, images, labels), None)
                assert judged is not None  # no budget
                code += torch.from_numpy(~judged.failed).short() << severity - 1
                finite &= torch.from_numpy(judged.finite)
                seen[severity] = (images * 255).round().to(torch.uint8)
            for (low, first), (high, second) in combinations(seen.items(), 2):
                same = (first == second).flatten(1).all(1)
                equal[name, low, high] += int(same.sum())
        return codes, finite, equal

    def failed(self, batch: Batch) -> Rows:
        """Rows without answers."""
        return Rows(batch.index, _table(batch, labels_of(batch), {}))

    def finish(self, result: Result, tallies: Sequence[Tally] = ()) -> Result:
        """With a flag where two severities of a corruption gave the same pixels everywhere."""
        equal, n = Counter[tuple[str, int, int]](), sum(t["n"] for t in tallies)
        for name, low, high, count in (pair for t in tallies for pair in t["equal"]):
            equal[name, low, high] += count
        same = [key for key, count in equal.items() if n and count == n]
        if not same:
            return result
        told = ", ".join(f"{name} {low} and {high}" for name, low, high in same)
        text = (
            f"equal pixels at two severities: {told}; on images of this size the harder one is "
            "not harder"
        )
        return result.with_flags(
            [Flag("equal_severities", text, None, {"pairs": told})]
        )

    def _begin(self, batch: Batch, shared: Shared) -> None:
        if self._origin:
            return
        self._origin = origin_of(shared, batch.images.device, self.plan)
        shape = tuple(batch.images.shape)
        drawn = self._folder is None
        self._facts = {
            "method": "stress",
            "corruptions": list(self._names),
            "severities": list(self._severities),
            "parameters": parameters_for(self._parameters, shape) if drawn else "cifar",
            "source": "drawn" if drawn else "folder",
            "n_classes": shared.n_classes,
            "outputs": self.plan.outputs,
            "seed": self.plan.seed,
        }

    def _images(self, name: str, severity: int, batch: Batch) -> Tensor:
        if self._folder is not None:
            return self._folder.images(name, severity, batch.index).to(batch.images)
        law = self._laws[name, severity]
        size = max(1, PIECE // max(1, batch.images[0].numel()))
        pairs = zip(torch.split(batch.images, size), torch.split(batch.ids, size))
        seed = self.plan.seed
        return torch.cat([law.sample(x, keyed(seed, i, 0, law.name)) for x, i in pairs])


def _part(images: Tensor, labels: Tensor, part: slice) -> tuple[Tensor, Tensor]:
    return images[part], labels[part]


def _table(
    batch: Batch, labels: Tensor, codes: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Every column of :class:`Stress`, -1 where nothing is known."""
    none = torch.full((len(batch),), -1, dtype=torch.int8)
    return {
        "ids": batch.ids.cpu(),
        "status": none,
        "reference": labels.cpu(),
        "clean_correct": none,
        **{name: codes.get(name, none.short()) for name in COLUMNS},
    }


def _folder(settings: Mapping[str, Any]) -> CorruptedFolder | None:
    path = settings.get("folder")
    if path is None:
        return None
    for other in ("textures", "parameters"):
        if other in settings:
            raise ConfigError(
                f"stage 'stress' has folder= and {other}=: what is read is not drawn; leave out "
                "one of them"
            )
    return CorruptedFolder(str(path))


def _check_folder(folder: CorruptedFolder, batch: Batch, labels: Tensor) -> None:
    """Raises InputError unless the batch is of the folder's test set, in its order."""
    place = batch.index.cpu()
    inside = bool((place < len(folder)).all())
    if not inside or bool((folder.labels()[place] != labels.cpu()).any()):
        raise InputError(
            f"the labels of the data are not those of {folder.path.name} at the same places; give "
            "the test set of the folder in its own order, from its first image on"
        )


def _names(
    given: Any, textures: Any, folder: CorruptedFolder | None
) -> tuple[str, ...]:
    if given is None:
        if folder is not None:
            return tuple(n for n in COLUMNS if n in folder.names)
        other = FROST if textures is not None else PROCEDURAL
        return tuple(other if name == FROST else name for name in PUBLISHED)
    if not isinstance(given, (list, tuple)) or not given:
        raise ConfigError(
            f'corruptions={given!r} must be a list of names, say ["fog", "snow"]'
        )
    if folder is None:
        for name in given:
            check_name(name)
    else:
        odd = [
            name for name in given if name not in folder.names or name not in COLUMNS
        ]
        if odd:
            raise ConfigError(
                f"corruptions {odd} are not in the folder; it has {', '.join(folder.names)}"
            )
    if textures is not None and FROST not in given:
        raise ConfigError("textures= is for 'frost', which corruptions= does not name")
    return tuple(dict.fromkeys(str(name) for name in given))


def _severities(given: Any) -> tuple[int, ...]:
    if given is None:
        return SEVERITIES
    fits = isinstance(given, (list, tuple)) and given
    if not fits or any(isinstance(s, bool) or s not in SEVERITIES for s in given):
        raise ConfigError(
            f"severities={given!r} must be a list of some of {list(SEVERITIES)}"
        )
    return tuple(sorted({int(s) for s in given}))
