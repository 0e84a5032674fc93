"""How sensitive is the output distribution? lambda_max of the input Fisher information."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor

from ..._typing import LogitsFn, Norm
from ...data.stream import Batch, Stream
from ...errors import ModelContractError
from ...results.base.columns import Rows
from ...results.base.facts import Flag
from ...results.base.result import Result
from ...results.sensitivity import Sensitivity
from ..base.probe import Probe
from ..base.resuming import unfinished
from ..base.settings import Setting
from .audit import GradientAudit, audit_batch, joined
from .blackbox import blackbox_rows
from .flags import fim_flags, missing_flags
from .references import CITATION
from .rows import raised_on, sensitivity_rows, unreached
from .scored import Scored
from .scoring import check_same_size, score, taken
from .settings import FIMSettings, Method, needs_gradient, needs_radius
from .step import better_end, warned
from .temperature import fitted_temperature, given_temperature, refuse_equal
from .view import Tempered, in_dtype


class FIMScore(Probe):
    r"""Spectral norm of the input Fisher information: a sensitivity score without an attack.

    F(x) = J^T (diag p - p p^T) J, J = dz/dx, p = softmax(z); for a small step e the divergence
    KL(p(x) || p(x + e)) is about e^T F e / 2, at most lambda_max(F) eps^2 / 2 over |e|_2 <= eps.
    The score is lambda_max, in [0, 1] pixel space whatever the model does inside; lower = less
    sensitive. It is a local diagnostic of the *output distribution*, no certificate, no accuracy:
    a confident model has a small lambda, and a masked gradient makes it small. Read it beside
    `margin_radius`. Source: arXiv:2606.04767, with corrections (docs/fimscore.md).

    ============== ======================================= ===========================
    method         how                                     right to
    ============== ======================================= ===========================
    auto           gram for K <= 16, else lanczos          as those
    gram           exact, from K - 1 gradients             rounding
    lanczos        J^T w and J v, a few of each            `tol`, or it says "cap"
    power          the paper's Algorithm 1                 not promised
    srp_hutchinson the paper's Algorithm 2                 far below the truth
    blackbox       differences along random directions     its interval
    srp_blackbox   the paper's black box                   about a D-th of the truth
    ============== ======================================= ===========================

    The last two ask for scores only and take any callable; "blackbox" is the top eigenvalue of a
    sketch of F, less what it reads too high, with an interval over its directions. Where leading
    eigenvalues tie it still reads about 1.1 times the truth (1.2 for nine equal ones).

    Distance Measure : Linf, L2, L1

    Arguments:
        model (nn.Module or callable): maps images (N, ...) to scores (N, K), with a gradient
            unless the method is a black box.
        eps (float): radius of a call's step, in pixel units of [0, 1]. (Default: 8/255)
        norm (str): "Linf", "L2" or "L1", of a call's step and of `margin_radius`.
            (Default: "Linf")
        method (str): see the table. (Default: "auto")
        tol (float): relative error of lambda that "lanczos" and "power" stop at; None is 1e-3 and
            1e-6. (Default: None)
        dtype (torch.dtype): torch.float64 scores a deep copy of the model, a Module, in double
            precision; None works in its own. (Default: None)
        temperature (float or "fit"): logits are divided by it; "fit" needs
            :meth:`fit_temperature` on other images first; None is 1. (Default: None)
        seed (int): of every random number. (Default: 0)
        jvp (str): back end of J v: "auto", "forward_mode", "double_backward" or
            "finite_differences". (Default: "auto")
        n_directions (int): of "blackbox", 2 queries each and a quarter again to check the step; of
            "srp_blackbox". (Default: 100)
        target (float): "blackbox" ends an image once half its interval of log lambda is below
            this; None takes all directions. (Default: None)
        grey (bool): "blackbox" on 8-bit inputs: steps of one grey level, every query on the 8-bit
            grid. (Default: False)
        kl (bool): also what `kl_linf` and `believable` need, which is most of the time; False
            leaves it out (nan), and a call in Linf steps along the eigenvector's signs.
            (Default: True)
        smooth (tuple): (sigma, n): score the mean of F over n points x + sigma g, g normal, where
            kinks make F jump; n times the cost. None scores the image itself. (Default: None)
        **options: the other arguments of :class:`Probe` by keyword (batch_size, bounds, outputs,
            max_queries, max_seconds, keep: the images of a call).

    Shape:
        - images: (N, C, H, W), (N, T, D) or (N, D), range [0, 1] (`bounds`).
        - labels: (N,) in [0, K), or None: the score takes y ~ p, not the label.
        - output: as images; the better of both steps along the top eigenvector (OSSA, 2019).

    Cost of `measure`: a forward, K - 1 vjps (gram) or 5 vjps and 5 jvps (lanczos), and 2 to 6 of
    both for the Linf value. A call takes 2 forwards more.

    Examples::
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3))
        >>> images = torch.full((2, 1, 2, 2), 0.5)
        >>> score = FIMScore(net, eps=0.1, norm="L2")
        >>> result = score.measure(images, ids=[1, 2])
        >>> bool((result.lam <= result.trace * (1 + 1e-6)).all())
        True
        >>> step = score(images, net(images).argmax(1)) - images
        >>> [round(size, 4) for size in step.flatten(1).norm(dim=1).tolist()]
        [0.1, 0.1]
    """

    result_type = Sensitivity
    settings_type = FIMSettings
    config: FIMSettings
    citation = CITATION

    method = Setting[Method]()
    tol = Setting["float | None"]()
    dtype = Setting["torch.dtype | None"]()
    temperature = Setting["float | Literal['fit'] | None"]()
    jvp = Setting[str]()
    n_directions = Setting[int]()
    target = Setting["float | None"]()
    grey = Setting[bool]()
    kl = Setting[bool]()
    smooth = Setting["tuple[float, int] | None"]()

    def __init__(
        self,
        model: Any,
        eps: float = 8 / 255,
        norm: Norm = "Linf",
        method: Method = "auto",
        tol: float | None = None,
        dtype: torch.dtype | None = None,
        temperature: float | Literal["fit"] | None = None,
        seed: int = 0,
        *,
        jvp: str = "auto",
        n_directions: int = 100,
        target: float | None = None,
        grey: bool = False,
        kl: bool = True,
        smooth: tuple[float, int] | None = None,
        **options: Any,
    ) -> None:
        options.setdefault("batch_size", 64)  # a graph of the batch stays in memory
        options |= dict(eps=eps, norm=norm, seed=seed, method=method, tol=tol)
        options |= dict(dtype=dtype, temperature=temperature, jvp=jvp, target=target)
        options |= dict(n_directions=n_directions, grey=grey, kl=kl, smooth=smooth)
        super().__init__("FIMScore", model, **options)
        self.supported_mode = ["default", "targeted"]
        self._fitted: float | None = None
        self._fit_ids, self._backends = frozenset[int](), frozenset[str]()
        self.step_checks, self.missing = Counter[str](), Counter[str]()

    def _needs_labels(self) -> bool:
        return self.attack_mode == "targeted(label)"

    def settings(self) -> dict[str, Any]:
        """Every setting that may change a number; for a fitted temperature the number."""
        if self.temperature != "fit":
            return super().settings()
        return super().settings() | {"temperature": self.temperature_value}

    def facts(self) -> dict[str, Any]:
        """How J v was computed (it may differ from machine to machine); checks of steps."""
        return {"jvp": sorted(self._backends), "step_checks": dict(self.step_checks)}

    @property
    def temperature_value(self) -> float:
        """What logits are divided by. Raises StateError for "fit" before a fit."""
        return given_temperature(self.temperature, self._fitted)

    def fit_temperature(
        self, data: Any, labels: Any = None, *, ids: Any = None
    ) -> float:
        """The temperature that gives `data` its least cross-entropy; "fit" uses it from now on.

        data and labels as for `measure`, of other images than those that are scored (equal ids are
        refused there). A forward row-pass an image. Raises InputError without images or labels.
        """
        stream = self._stream(data, labels, ids, None)
        with self._session(), torch.no_grad():
            self._fitted, self._fit_ids = fitted_temperature(stream, self.get_logits)
        return self._fitted

    def _scored(self) -> LogitsFn:
        """Pixels to logits as they are scored: scaled, in the dtype asked for, tempered."""
        value = self.temperature_value
        view: LogitsFn = self.get_logits
        if self.dtype is not None:
            scale = self.normalize if self._normalization_applied is False else None
            view = in_dtype(self.config, self.model, self._meter, scale)
        return Tempered(view, value)

    def forward(
        self, inputs: Tensor, labels: Any = None, *args: Any, **kwargs: Any
    ) -> Tensor:
        """One step of length `eps` along the top eigenvector, with the better of its signs.

        Untargeted: the sign of smaller margin to the label (to the clean answer without labels);
        targeted: of smaller margin to reaching the target. 2 forward row-passes beside the score.
        """
        needs_gradient(self.config)
        ids, index = self._ids(inputs, labels), torch.arange(len(inputs))
        whole, view = Batch(ids, inputs, labels, index), self._scored()
        places = index.chunk(-(-len(inputs) // self.batch_size))
        parts = [taken(whole, place) for place in places]
        found = [score(self.config, view, p.images, p.ids) for p in parts]
        return torch.cat([*map(self._stepped, map(warned, found), parts)])

    def _stepped(self, scored: Scored, batch: Batch) -> Tensor:
        """The images of a call, for a batch that is scored."""
        targets = None
        if self.targeted:
            targets = self._targets(batch.ids, batch.images, batch.labels)
        return better_end(self.config, self.get_logits, scored, batch, targets)

    def directions(self, images: Tensor, *, ids: Any = None) -> Tensor:
        """The top eigenvector of each image in pixel space, unit L2, of its shape (for heat maps).

        images of one size (else InputError), in the caller's scale. Cost as `measure`.
        """
        needs_gradient(self.config)
        parts: list[Tensor] = []
        for batch in self._stream(images, None, ids, None):
            check_same_size(parts, batch.images)
            with self._session():
                top = score(self.config, self._scored(), batch.images, batch.ids).top
            parts.append(top.u1.view_as(batch.images).float())
        return torch.cat(parts) if parts else torch.zeros_like(images)

    def audit(
        self, data: Any, *, ids: Any = None, n_directions: int = 20
    ) -> GradientAudit:
        """Is the gradient masked, the image on a kink? Scores at finite steps beside lambda.

        Steps of L2 length `eps` for the first, tiny ones to both sides for the second. data as for
        `measure`. 2 n_directions + 3 forward row-passes an image. ConfigError for eps = 0.
        """
        needs_gradient(self.config)
        needs_radius(self.config)
        parts = []
        for batch in self._stream(data, None, ids, None):
            with self._session():
                view = self._scored()
                parts.append(audit_batch(self.config, view, batch, n_directions))
        return joined(parts, float(self.eps))

    def _rows(self, stream: Stream) -> Iterator[Rows]:
        told = {} if stream.resume is None else stream.resume.provenance
        self._backends = frozenset(told.get("jvp", ()))
        self.step_checks, self.missing = Counter(told.get("step_checks", {})), Counter()
        view = self._scored()
        for batch in unfinished(stream):
            if isinstance(batch, Rows):
                yield batch
            elif stream.allows(self.config.row_passes * len(batch)):
                rows = self._batch(view, batch)
                yield rows if self.targeted else stream.noted(rows)
            else:
                yield unreached(batch, self.config.keeps)

    def score_batch(self, batch: Batch) -> Iterator[Rows]:
        """Rows of checked pixels, at most `batch_size` a time, inside a runner's own session.

        What is seen on the way is added to that of earlier batches; budgets are the runner's.
        """
        view = self._scored()
        for start in range(0, len(batch), self.batch_size):
            places = torch.arange(start, min(start + self.batch_size, len(batch)))
            yield self._batch(view, taken(batch, places))

    def _batch(self, view: LogitsFn, batch: Batch) -> Rows:
        self._refuse_fit_ids(batch)
        try:
            if self.config.black_box:
                found, images = blackbox_rows(self.config, view, batch), None
            else:
                scored = score(self.config, view, batch.images, batch.ids)
                found = sensitivity_rows(self.config, batch, scored)
                images = self._stepped(scored, batch) if self.config.keeps else None
        except ModelContractError as error:
            return raised_on(batch, self.config.keeps, error)
        self._backends |= found.backends
        self.step_checks.update(found.step_checks)
        self.missing.update(found.missing)
        return Rows(found.rows.index, found.rows.columns, images)

    def _refuse_fit_ids(self, batch: Batch) -> None:
        if self.temperature == "fit":
            refuse_equal(batch.ids, self._fit_ids)

    def doubts(self, result: Result) -> tuple[Flag, ...]:
        """Saturation, caps, zero gradients, steps of the black box that are too long or short."""
        assert isinstance(result, Sensitivity)
        found = fim_flags(result, self.method, self.step_checks)
        return *found, *missing_flags(self.missing)
