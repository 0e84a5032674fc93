"""How does accuracy hang on the batch in which an image is delivered? Sizes, classes, copies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor

from ...data.door import check_images, check_label_range, check_labels
from ...errors import ConfigError, InputError
from ...models.logits import full_dtype
from ...models.session import on_device_of, session
from ...numerics.arguments import parse_seed, parse_whole
from ...numerics.rates.binomial import clopper_pearson
from ...numerics.streams import uniform
from ...results.base import codec
from ...results.base.document import Document
from ...results.base.unknown import known_fields
from ...results.base.words import one_line
from .head import HPMHead
from .model import HPMModel, check_hpm
from .others import batch_answers

Kind = Literal["mixed", "one class", "copies"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, kw_only=True)
class BatchRow:
    """Accuracy of one head in batches of one size and kind.

    Arguments:
        m (int): rows of a batch; the last batch of a partition, or of a class, may be smaller.
        kind (str): "mixed": in random order; "one class": all of one true class; "copies": every
            image twice.
        leave_out (bool): each row's own features are left out of its prototypes.
        accuracy (tuple): share of right answers, one a partition of the data into batches.
        as_linear (float): share of the answers of the linear head's, over all partitions.
    """

    m: int
    kind: str
    leave_out: bool
    accuracy: tuple[float, ...]
    as_linear: float

    @property
    def mean(self) -> float:
        """Over the partitions."""
        return sum(self.accuracy) / len(self.accuracy)


@dataclass(frozen=True, kw_only=True, repr=False)
class BatchReport(Document):
    """Accuracy against the batch, all rows on the same images.

    Arguments:
        n, n_classes, seed (int): images, classes, of the partitions.
        linear (float): accuracy of the linear head alone.
        of_all (float or None): accuracy with the prototypes of the data set in place of those of
            the batch; None where the head has none.
        rows (tuple): :class:`BatchRow` each.
        extra (dict): fields of a newer file that this version does not know; written back.
    """

    schema: ClassVar[str] = "batch_report/1"

    n: int
    n_classes: int
    seed: int
    linear: float
    of_all: float | None
    rows: tuple[BatchRow, ...]
    extra: Mapping[str, Any] = field(default_factory=dict)

    def find(self, m: int, kind: Kind = "mixed", leave_out: bool = False) -> BatchRow:
        """One row. Raises InputError where it was not measured."""
        for row in self.rows:
            if (row.m, row.kind, row.leave_out) == (m, kind, leave_out):
                return row
        raise InputError(
            f"batches of {m}, {kind!r}, leave_out={leave_out} were not measured; sizes are "
            f"{sorted({row.m for row in self.rows})}, kinds {KINDS}"
        )

    def summary(self, confidence: float = 0.95) -> dict[str, Any]:
        """Accuracies in plain numbers, with an exact interval of the first partition of each."""
        found: dict[str, Any] = {
            "n": self.n,
            "linear": self.linear,
            "dset": self.of_all,
        }
        for row in self.rows:
            name = f"m={row.m}, {row.kind}" + ", without itself" * row.leave_out
            right = round(row.accuracy[0] * self.n)
            low, high = clopper_pearson(right, self.n, confidence)
            found[name] = {"accuracy": row.mean, "interval": [float(low), float(high)]}
        return found

    def to_records(self) -> list[dict[str, Any]]:
        """One dict a row, in JSON types."""
        return [codec.plain(asdict(row)) for row in self.rows]

    def to_dict(self) -> dict[str, Any]:
        """Everything, in JSON types."""
        names = [f.name for f in fields(self) if f.name not in ("rows", "extra")]
        own = {name: codec.plain(getattr(self, name)) for name in names}
        extra = codec.plain(self.extra)
        return {**extra, "schema": self.schema, **own, "rows": self.to_records()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> BatchReport:
        """The inverse of :meth:`to_dict`. Raises InputError for what is not whole."""
        raw = codec.migrate(dict(data), cls.schema)
        raw.pop("schema")
        names = {f.name for f in fields(cls)} - {"extra"}
        known = {name: raw.pop(name) for name in names & raw.keys()}
        try:
            known["rows"] = tuple(
                known_fields(BatchRow, {**row, "accuracy": tuple(row["accuracy"])})
                for row in known["rows"]
            )
            return cls(**known, extra=raw)
        except (KeyError, TypeError) as error:
            raise InputError(
                f"not a whole {cls.schema}: {error}; is the file damaged?"
            ) from error

    def __repr__(self) -> str:
        facts: dict[str, Any] = {"n": self.n, "linear": self.linear}
        plain = [row for row in self.rows if row.kind == "mixed" and not row.leave_out]
        facts |= {f"m{row.m}": row.mean for row in plain}
        return one_line(type(self).__name__, facts, ())


def batch_report(
    model: HPMModel,
    images: Tensor,
    labels: Tensor,
    sizes: Iterable[int] | None = None,
    *,
    partitions: int = 3,
    seed: int = 0,
    batch_size: int = 256,
) -> BatchReport:
    """Clean accuracy of an HPM model against the batches in which its images come.

    The same images in random batches of each size, in batches of a single class, with every image
    twice, and each of these once more with the row left out of its own prototypes
    (:class:`.others.Others`, the surrogate "others"). With m = 1 and no share of C_glob the
    decisions are those of the linear head: the row is its own prototype.

    Args:
        model: fitted. images, labels: (N, ...) in [0, 1] and (N,), at least one.
        sizes: of batches, >= 1; those above N are left out. None: 1, 2, K, 10 K and N.
        partitions: of the data into batches, >= 1. seed: of their order.
        batch_size: rows of the trunk at a time.

    Returns:
        A :class:`BatchReport`.

    Raises:
        InputError: images or labels that do not fit. ConfigError: sizes or counts below 1.
        ModelContractError: a model that is no HPMModel, or in half precision.

    Cost: N row-passes of the trunk; the head sees all rows 6 times a size and partition.

    Example:
        >>> from torchattacks_ext.testing import small_net
        >>> hpm = HPMModel.from_classifier(small_net())
        >>> images, labels = torch.rand(6, 1, 8, 8), torch.arange(6) % 3
        >>> found = batch_report(hpm.fit_prototypes([(images, labels)]), images, labels, (1, 3))
        >>> found.find(3, "copies").m
        3
    """
    check_hpm(model)
    pixels = on_device_of(model, check_images(images, (0.0, 1.0), full_dtype(model)))
    whole = check_labels(labels, len(pixels)).to(pixels.device)
    check_label_range(whole, model.head.n_classes)
    if not len(pixels):
        raise InputError("there are no images; give at least one")
    count, seed = parse_whole(partitions, "partitions", 1), parse_seed(seed)
    n, k = len(pixels), model.head.n_classes
    chosen = (1, 2, k, 10 * k, n) if sizes is None else _several(sizes)
    wanted = sorted({parse_whole(m, "sizes", 1) for m in chosen})
    with session(model), torch.no_grad():
        size = parse_whole(batch_size, "batch_size", 1)
        z = torch.cat([model.trunk(part) for part in torch.split(pixels, size)])
        there = _There(model.head, model.head.wide(z), whole)
        rows = [
            there.row(m, kind, leave_out, count, seed)
            for m in wanted
            for kind in KINDS
            for leave_out in (False, True)
            if m <= n and (m > 1 or kind != "copies")  # one row has no room for a copy
        ]
        return BatchReport(
            n=n,
            n_classes=k,
            seed=seed,
            linear=there.share(there.said),
            of_all=there.by_data(),
            rows=tuple(rows),
        )


def _several(sizes: Iterable[int]) -> tuple[int, ...]:
    if not isinstance(sizes, Iterable):
        raise ConfigError(f"sizes={sizes!r} are to be several, in a list")
    return tuple(sizes)


class _There:
    """Features and labels of all rows, and what the head answers in which company."""

    def __init__(self, head: HPMHead, z: Tensor, labels: Tensor) -> None:
        self.head, self.z, self.labels = head, z, labels
        self.said = head.fc_logits(z).argmax(1)

    def share(self, answers: Tensor, of: Tensor | None = None) -> float:
        return float((answers == (self.labels if of is None else of)).double().mean())

    def by_data(self) -> float | None:
        if not self.head.settings.use_global:
            return None
        logits = self.head.compare(self.z, self.head.of_data(self.z))
        return self.share(logits.argmax(1))

    def row(
        self, m: int, kind: Kind, leave_out: bool, count: int, seed: int
    ) -> BatchRow:
        found = []
        for number in range(count):
            answers = torch.empty_like(self.labels)
            for rows in partition(self.labels, m, kind, seed, number):
                logits = batch_answers(self.head, self.z[rows], leave_out)
                answers[rows] = logits.argmax(2)
            found.append(answers)
        return BatchRow(
            m=m,
            kind=kind,
            leave_out=leave_out,
            accuracy=tuple(self.share(answers) for answers in found),
            as_linear=sum(self.share(x, self.said) for x in found) / count,
        )


def partition(
    labels: Tensor, m: int, kind: Kind = "mixed", seed: int = 0, number: int = 0
) -> list[Tensor]:
    """All rows in batches of m, as stacks (B, m') of row numbers of equal batches.

    labels: (N,), for "one class". "copies" holds every row twice, m // 2 different ones a batch.
    number: of the partition; each has an order of its own.

    >>> [rows.shape[1] for rows in partition(torch.zeros(5), 2)]
    [2, 1]
    """
    n, place = len(labels), labels.device
    u = uniform(seed, torch.arange(n), "hpm/company", number, 1)[:, 0]
    order = torch.argsort(u, stable=True).to(place)
    if kind == "copies":
        return [torch.cat([rows, rows], 1) for rows in _stacked(order, m // 2)]
    if kind == "mixed":
        return _stacked(order, m)
    by_class = [order[labels[order] == y] for y in torch.unique(labels)]
    parts = [rows for own in by_class for rows in _stacked(own, m)]
    whole = [rows for rows in parts if rows.shape[1] == m]
    rest = [rows for rows in parts if rows.shape[1] < m]
    return [torch.cat(whole), *rest] if whole else rest


def _stacked(order: Tensor, m: int) -> list[Tensor]:
    """Rows in order, in batches of m and one of what is left."""
    cut = len(order) // m * m
    parts = [order[:cut].reshape(-1, m), order[cut:].unsqueeze(0)]
    return [rows for rows in parts if rows.numel()]
