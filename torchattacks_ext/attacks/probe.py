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
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from .._typing import NORMS, Norm
from ..data.door import Bounds, as_bounds, as_tensor, check_images, check_labels
from ..data.stream import Stream
from ..errors import BackendError, ConfigError
from ..models.checks import ModelTraits, inspect_model
from ..models.logits import Outputs, working_dtype
from ..models.meter import Budget
from ..results.base import Result
from ..results.columns import Rows, Table
from ..results.facts import Flag
from . import measuring
from .saving import save_attack
from .tamed import TamedAttack


class Probe(TamedAttack):
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
        n_queries (int): forward row-passes per image of one call. (Default: None)
        max_queries (int): forward row-passes of one `measure`. (Default: None)
        max_seconds (float): wall time of one `measure`. (Default: None)
        keep (str): images to keep: "none", "memory", or a folder for safetensors files.
            (Default: "none")

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
        n_queries: int | None = None,
        max_queries: int | None = None,
        max_seconds: float | None = None,
        keep: str | os.PathLike[str] = "none",
    ) -> None:
        super().__init__(name, model, outputs)
        self.bounds: Bounds | None = as_bounds(bounds)
        self.norm, self.eps = norm, eps
        self.seed, self.batch_size = seed, batch_size
        self.n_queries, self.max_queries = n_queries, max_queries
        self.max_seconds, self.keep = max_seconds, os.fspath(keep)
        self._check_settings()

    def _check_settings(self) -> None:
        if self.norm not in NORMS:
            raise ConfigError(f"norm={self.norm!r} is not one of {NORMS}")
        eps = self.eps
        if not isinstance(eps, (int, float)) or not 0 <= eps < float("inf"):
            raise ConfigError(
                f"eps={eps!r} must be a finite number >= 0, in pixel units of [0, 1]: say 8/255"
            )
        if self.bounds is not None and self.norm == "Linf":
            low, high = (torch.as_tensor(side) for side in self.bounds)
            width = float((high - low).max())
            if eps > width:
                raise ConfigError(
                    f"eps={eps:g} is wider than the pixel range {width:g}; eps has the unit of the "
                    f"images: did you mean {eps:g}/255?"
                )
        for name in ("batch_size", "n_queries", "max_queries"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise ConfigError(f"{name}={value!r} must be a whole number >= 1")
        if self.max_seconds is not None and not self.max_seconds > 0:
            raise ConfigError(f"max_seconds={self.max_seconds!r} must be > 0, or None")

    # ------------------------------------------------------------------ the door
    def _prepare(self, inputs: Any, normalised: bool) -> Tensor:
        """The caller's images as checked pixels on the model's device."""
        images = as_tensor(inputs, "images").detach()
        images = images.to(self.device or images.device)
        if images.is_inference():
            images = images.clone()
        if normalised and images.dtype.is_floating_point and images.dim() > 1:
            images = self.inverse_normalize(images)
        return check_images(images, self.bounds, working_dtype(self.model))

    def _look(self, images: Tensor) -> ModelTraits:
        return inspect_model(self.model, self.get_logits, images, self.outputs)

    # ------------------------------------------------------------------ verb one: images
    @abstractmethod
    def forward(
        self, inputs: Tensor, labels: Any = None, *args: Any, **kwargs: Any
    ) -> Tensor:
        """Pixels (N, ...) on the device and labels (N,) to perturbed pixels of the same shape."""

    @final
    def __call__(
        self, inputs: Tensor, labels: Any = None, *args: Any, **kwargs: Any
    ) -> Tensor:
        """Perturbed images in the shape, dtype and scale of `inputs` (N, ...).

        They lie on the model's device.
        Raises InputError at the door; model and attack are then as before. Works under no_grad and
        inference_mode, and never returns inference tensors.
        """
        normalised = self._normalization_applied is True
        with self._session():
            images = self._prepare(inputs, normalised)
            found = images
            if len(images):
                if labels is not None:
                    labels = check_labels(labels, len(images)).to(images.device)
                found = self.forward(images, labels, *args, **kwargs)
            if found.shape != images.shape:
                raise BackendError(
                    f"{self.attack}.forward gave {tuple(found.shape)} for images of shape "
                    f"{tuple(images.shape)}, expected the same; mend its forward"
                )
            found = found.detach().clone()
            if normalised:
                found = self.normalize(found)
        dtype = inputs.dtype if isinstance(inputs, Tensor) else found.dtype
        return found.to(dtype)

    def save(
        self,
        data_loader: Any,
        save_path: Any = None,
        verbose: bool = True,
        return_verbose: bool = False,
        save_predictions: bool = False,
        save_clean_inputs: bool = False,
        save_type: str = "float",
    ) -> tuple[float, float, float] | None:
        """Perturb every batch of a loader and write one file that `Attack.load` reads.

        As torchattacks' `save`, with its slips mended: written once; "int" rounds inside the ball
        and is scored again; seconds of the whole run; nothing is printed. Labels of mode
        "targeted(label)" are targets, reaching one is a failure. With `return_verbose` returns
        (robust accuracy in percent, mean L2 over successes (nan without any), seconds).
        """
        return save_attack(
            self,
            data_loader,
            save_path,
            verbose=verbose,
            return_verbose=return_verbose,
            save_predictions=save_predictions,
            save_clean_inputs=save_clean_inputs,
            save_type=save_type,
        )

    @abstractmethod
    def _rows(self, stream: Stream) -> Iterator[Rows]:
        """Finished rows of the stream, in completion order; holds no context across a yield."""

    def settings(self) -> dict[str, Any]:
        """Every setting that may change a decision, in JSON types; part of the digest."""
        bounds = self.bounds
        if bounds is not None:
            bounds = [torch.as_tensor(side).tolist() for side in bounds]  # type: ignore
        return {
            "method": self.attack,
            "eps": float(self.eps),
            "norm": self.norm,
            "seed": self.seed,
            "bounds": bounds,
            "outputs": self.outputs,
            "mode": self.attack_mode,
            "model_training": self._model_training,
            "dropout_training": self._dropout_training,
        }

    def facts(self) -> dict[str, Any]:
        """What the subclass adds to the provenance of its result, in JSON types."""
        return {}

    def _needs_labels(self) -> bool:
        return True

    def _flags(self, result: Result) -> tuple[Flag, ...]:
        """Doubts that only the subclass knows of."""
        return ()

    def _stream(
        self, data: Any, labels: Any, ids: Any, resume: Result | None
    ) -> Stream:
        normalised = self._normalization_applied is True
        if resume is not None:
            measuring.check_resume(self, resume)
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
        earlier result of the same settings and data, gone on with. progress: show a bar.
        Raises InputError for data, StateError for a resume that does not fit,
        ModelContractError when no image got finite logits.
        """
        stream = self._stream(data, labels, ids, resume)
        before, started = self._meter.snapshot(), time.perf_counter()
        table, keeper = Table(), measuring.Keeper(self.keep)
        with measuring.bar(stream.total, self.attack, progress) as shown:
            for rows in self._run(stream):
                keeper.add(rows)
                table.append(Rows(rows.index, rows.columns))
                shown.update(len(rows))
        cost = self._meter.since(before, time.perf_counter() - started)
        return measuring.summarise(self, table, stream, cost, keeper)
