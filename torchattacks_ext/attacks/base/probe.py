"""What is common to every class of this package?

Each is a torchattacks attack with a second verb: `measure`.

`Probe` owns what must never go wrong: the model is given back as it was, numbers do not depend
on batch size or order, nothing is drawn from the global generator, and every refusal says what
to do.
"""

from __future__ import annotations

import os
import time
from abc import abstractmethod
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any, ClassVar, final

from ..._typing import Norm
from ...data.stream import Stream
from ...errors import ConfigError, StatusError
from ...models.checks import ModelTraits
from ...models.fast import FastModel
from ...models.fingerprint import describe_model
from ...models.loans import lost_flags
from ...models.meter import Budget
from ...models.scores import Key, Outputs
from ...results.base.columns import Rows
from ...results.base.facts import Cost, Flag, versions
from ...results.base.origin import refuse_other_model
from ...results.base.result import Result
from . import measuring
from .calling import ImageAttack
from .finished import Finished, failed_flag
from .resuming import same_settings
from .settings import ProbeSettings


class Probe(ImageAttack):
    r"""Base of PRTest and its sisters: calling gives images, `measure` gives a result.

    Arguments:
        name (str): name of the method.
        model (nn.Module or callable): maps images (N, ...) to scores (N, K); tuples, dicts,
            objects with .logits, a single logit and (with outputs="probs") probabilities are
            understood.
        eps (float): radius of the ball, in pixel units of [0, 1].
        norm (str): "Linf", "L2" or "L1".
        seed (int): of every random number. (Default: 0)
        batch_size (int): rows of one forward pass; changes no decision. (Default: 256)
        bounds (tuple): pixel range (low, high), floats or per-channel tensors; None for embeddings.
            (Default: (0, 1))
        outputs (str): "logits" or "probs". (Default: "logits")
        output_key (str or int): which part of a tuple or dict that the model returns holds the
            scores; None takes "logits", or the only part that can be it. (Default: None)
        n_queries (int): forward row-passes per image of one call. (Default: None)
        max_queries (int): forward row-passes of one `measure`. (Default: None)
        max_seconds (float): wall time of one `measure`. (Default: None)
        keep (str): images to keep: "none", "memory", or a folder for safetensors files.
            (Default: "none")
        **own: what the subclass's `settings_type` adds.

    A subclass writes `forward` (pixels, labels -> pixels) and `_rows` (stream -> finished
    rows), and sets `result_type`, `citation` and, where it can, ``supported_mode = ["default",
    "targeted"]``. Inside `torchattacks.MultiAttack` only a Module that returns a tensor (N, K)
    works, and what the outer attack itself leaves behind (frozen BatchNorm, its flag after an
    exception) is not repaired. A whole example stands in docs/probe.md.

    >>> from torchattacks_ext import PRTest
    >>> issubclass(PRTest, Probe)
    True
    """

    result_type: ClassVar[type[Result]]
    settings_type: ClassVar[type[ProbeSettings]] = ProbeSettings
    citation: ClassVar[str] = ""
    unit: ClassVar[str] = "image"
    resumable: tuple[str, ...] = ()
    """Settings that may differ between a result and the run that resumes it."""

    def __init__(
        self,
        name: str,
        model: Any,
        *,
        eps: float,
        norm: Norm,
        seed: int = 0,
        batch_size: int = 256,
        bounds: Any = (0, 1),
        outputs: Outputs = "logits",
        output_key: Key = None,
        n_queries: int | None = None,
        max_queries: int | None = None,
        max_seconds: float | None = None,
        keep: str | os.PathLike[str] = "none",
        **own: Any,
    ) -> None:
        super().__init__(name, model)
        if isinstance(model, FastModel) and model.reduced:
            raise ConfigError(
                f"the model is a copy that computes in {model.form.autocast}: it finds candidates, "
                f"and {name} is to decide. Give the original, or a copy in fp32; MSA takes the "
                "short one as a surrogate beside the original"
            )
        common: dict[str, Any] = dict(eps=eps, norm=norm, seed=seed, bounds=bounds)
        common |= dict(batch_size=batch_size, outputs=outputs, n_queries=n_queries)
        common |= dict(output_key=output_key)
        common |= dict(max_queries=max_queries, max_seconds=max_seconds, keep=keep)
        self._configure(self.settings_type(**common, **own))

    # ------------------------------------------------------------------ verb two: a result
    @abstractmethod
    def _rows(self, stream: Stream) -> Iterator[Rows]:
        """Finished rows of the stream, in completion order; holds no context across a yield."""

    def settings(self) -> dict[str, Any]:
        """Every setting that may change a decision, in JSON types; part of the digest."""
        return {
            "method": self.attack,
            **self.config.facts(),
            "mode": self.attack_mode,
            **self._aim(),
            "model_training": self._model_training,
            "dropout_training": self._dropout_training,
        }

    def _aim(self) -> dict[str, Any]:
        """What the name of a targeted mode does not say; {} for other modes."""
        if self.attack_mode != "targeted(least-likely)":
            return {}
        return {"kth_min": self._kth_min}

    def facts(self) -> dict[str, Any]:
        """What the subclass adds to the provenance of its result, in JSON types."""
        return {}

    def seen(self, traits: ModelTraits | None, earlier: Any = None) -> dict[str, Any]:
        """Settings that only a look at the model decides; earlier: a result to go on with."""
        return {}

    def _needs_labels(self) -> bool:
        return True

    def doubts(self, result: Result) -> tuple[Flag, ...]:
        """What only the subclass knows against its result."""
        return ()

    def _stream(
        self, data: Any, labels: Any, ids: Any, resume: Result | None
    ) -> Stream:
        normalised = self._normalization_applied is True
        if resume is not None:
            self._check_resume(resume)
        return Stream(
            data,
            labels,
            ids=ids,
            batch_size=self.batch_size,
            bounds=self.bounds,
            prepare=lambda images: self._prepare(images, normalised),
            need_labels=self._needs_labels(),
            look=self._look,
            budget=Budget(self._meter, self.max_queries, self.max_seconds),
            resume=resume,
        )

    @final
    def rows(
        self,
        data: Any,
        labels: Any = None,
        *,
        ids: Any = None,
        resume: Result | None = None,
    ) -> Iterator[Rows]:
        """Finished rows in completion order; between two of them all is in the caller's state."""
        return self._run(self._stream(data, labels, ids, resume))

    def _run(self, stream: Stream) -> Iterator[Rows]:
        work = self._rows(stream)
        while True:
            with self._session():
                rows = next(work, None)
            if rows is None:
                return
            yield rows

    @final
    def measure(
        self,
        data: Any,
        labels: Any = None,
        *,
        ids: Any = None,
        resume: Any = None,
        progress: bool = False,
    ) -> Any:
        """Measure every image of `data`; the result is in input order.

        data: tensor (N, ...) with `labels` (N,), Dataset, DataLoader or iterable of batches
        (tuples, or dicts with image(s) | img | pixel_values, label(s), optional sample_ids,
        groups). ids: own sample ids (ints or strings), else the content is hashed. resume: an
        earlier result of the same settings and data, gone on with. progress: show a bar. Ctrl-C
        ends the run with what is known, a second one at once.
        A batch on which the model raises ends as rows of status FAILED, with a flag, and the next
        one is measured. Raises InputError for data, StateError for a resume that does not fit,
        ModelContractError when no image got finite logits, or the model raised on all of them.
        """
        stream = self._stream(data, labels, ids, resume)
        model, finished = describe_model(self.model), Finished(self.keep)
        before, started = self._meter.snapshot(), time.perf_counter()
        with (
            measuring.interruptible(stream.budget),
            measuring.bar(stream.total, self.attack, progress) as shown,
        ):
            stream.shown = None if shown.disable else shown
            for rows in self._run(stream):
                finished.add(rows)
                shown.update(len(rows))
            stream.shown = None
        cost = self._meter.since(before, time.perf_counter() - started)
        finished.refuse_nothing()
        return self._result(stream, finished, cost, model)

    def _result(
        self, stream: Stream, finished: Finished, cost: Cost, model: dict[str, Any]
    ) -> Result:
        """The result of finished rows, which nothing that stands beside them may cost."""
        doubts: list[Flag] = []
        no_facts: dict[str, Any] = {}
        facts = measuring.late(self.facts, no_facts, "part of its provenance", doubts)
        result = measuring.result_of(
            self.result_type,
            finished.table,
            stream,
            settings=self.settings() | self.seen(stream.traits, stream.resume),
            provenance=self._provenance(model) | facts | measuring.history(stream),
            cost=cost,
            sidecars=finished.keeper.finish(),
        )
        trained = self._model_training or self._dropout_training
        none: tuple[Flag, ...] = ()
        own = measuring.late(lambda: self.doubts(result), none, "a doubt", doubts)
        own = *own, *lost_flags(self.model)
        flags = *measuring.flags_of(result, stream, trained), *own, *doubts
        kept = finished.keeper.flags()
        flags = *failed_flag(result, finished.failure), *flags, *kept
        return measuring.flagged(result, flags)

    def _provenance(self, model: dict[str, Any]) -> dict[str, Any]:
        return {
            "model": model,
            "device": str(self.device),
            "batch_size": self.batch_size,
            **self._scale(),
            "versions": versions(),
            "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }

    def _scale(self) -> dict[str, Any]:
        """Whether the model takes scaled inputs, and which."""
        used = self.normalization_used
        if used is None:
            return {"normalised_input": False}
        scale = {name: used[name].flatten().tolist() for name in ("mean", "std")}
        return {"normalised_input": True, "normalization": scale}

    def _check_resume(self, resume: Any) -> None:
        if not isinstance(resume, self.result_type):
            raise StatusError(
                f"resume={type(resume).__name__} cannot be gone on with by {self.attack}; "
                f"expected {self.result_type.__name__}"
            )
        same_settings(self.settings(), resume.settings, self.resumable)
        now = self._provenance(describe_model(self.model))
        refuse_other_model(resume.provenance, now, "this run")
