"""Within which distance in pixels does a classifier provably not change its answer? One forward."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ...attacks.base import measuring
from ...attacks.base.finished import Finished, failed_flag
from ...data.door import check_label_range
from ...data.stream import Batch, Stream
from ...errors import ConfigError, ModelContractError, StateError
from ...models.fingerprint import describe_model, fingerprint
from ...models.loans import lost_flags
from ...models.normalised import NormalizedModel
from ...models.session import session
from ...numerics.arguments import parse_number, parse_whole
from ...numerics.certificates.radii import Method, check_method
from ...results.base.columns import Rows
from ...results.base.facts import Cost, versions
from ...results.certificates import Certificates
from .entrance import (
    BOUNDS,
    encoded,
    prepared,
    refuse_short,
    refuse_training,
    same_shape,
)
from .head import EllipsHead
from .reach import Known, Reach, admitted, reach_of, tier_of
from .rows import certified_rows, raised_on


class Ellips(nn.Module):
    r"""A Gaussian-mixture classifier on an encoder, which says how far each answer holds.

        radius(x) = rho(f(x)) / L,    |f(x) - f(x')| <= L |x - x'|

    (arXiv:2605.25352, Theorem 5.1), rho the exact latent radius of :class:`EllipsHead` unless asked
    otherwise. Calling gives logits (N, K), so that every attack and probe takes it as a model;
    :meth:`certify` gives :class:`Certificates` for one forward row-pass an image. What L is decides
    what the radii are called: a bound ("certified"), a number that somebody vouches for
    ("conditional: L assumed"); an :class:`Estimate` only in `paper_mode`, whose table is labelled
    "reproduction, not a certificate". The claim is about real arithmetic of the encoder, "up to
    encoder rounding", unless `encoder_slack` covers that.

    Arguments:
        encoder (nn.Module): maps images (N, ...) to latents (N, d).
        head (EllipsHead): classifier of the latents.
        lipschitz (LipschitzBound): of the map from pixels in [0, 1] to latents, `normalization`
            included; in `paper_mode` also an Estimate. None finds it by the rules for layers, and
            "ball" one around each image for chains of Linear, Conv and ReLU, at some twenty times
            the cost. (Default: None)
        method (str): "exact", "pairwise" or "paper"; None is "exact", in `paper_mode` "paper".
            (Default: None)
        paper_mode (bool): the paper's numbers, which are no certificate. (Default: False)
        normalization (tuple): (mean, std) a channel, applied before the encoder. (Default: None)
        encoder_slack (float): L2 bound of the latents' rounding, see :func:`.rounding_estimate`.
            (Default: 0.0)

    Raises StatusError for an estimate, a point bound or a bare number in place of a bound,
    ConfigError for settings outside their domains.

    Examples::
        >>> from torchattacks_ext.certify import LipschitzBound
        >>> head = EllipsHead.from_parameters([[0.0], [1.0]], 1.0)
        >>> model = Ellips(nn.Flatten(), head, LipschitzBound(1.0)).eval()
        >>> images = torch.tensor([[0.2], [0.9]])
        >>> found = model.certify(images, [0, 1], ids=[1, 2])
        >>> [round(r, 4) for r in found.radius.tolist()], found.tier
        ([0.3, 0.4], 'certified')
        >>> model(images).argmax(1).tolist()
        [0, 1]
    """

    def __init__(
        self,
        encoder: nn.Module,
        head: EllipsHead,
        lipschitz: Known | Literal["ball"] | None = None,
        method: Method | None = None,
        paper_mode: bool = False,
        normalization: Any = None,
        encoder_slack: float = 0.0,
    ) -> None:
        super().__init__()
        if not isinstance(head, EllipsHead):
            raise ConfigError(
                f"head is a {type(head).__name__}, expected an EllipsHead: EllipsHead.fit(z, y)"
            )
        if normalization is not None:
            encoder = NormalizedModel(encoder, *normalization)
        self.encoder, self.head = encoder, head
        self.paper_mode = bool(paper_mode)
        self.method: Method = method or ("paper" if paper_mode else "exact")
        check_method(self.method)
        self.encoder_slack = parse_number(encoder_slack, "encoder_slack")
        self.lipschitz = lipschitz

    # ------------------------------------------------------------------ the bound
    @property
    def lipschitz(self) -> Known | Literal["ball"] | None:
        """The bound as it was given; assigning another one is checked as at the start."""
        return self._given

    @lipschitz.setter
    def lipschitz(self, found: Known | Literal["ball"] | None) -> None:
        if found is not None and found != "ball":
            found = admitted(found, self.paper_mode)
        self._given = found
        self._known: tuple[Any, Reach] | None = None
        vouched = getattr(found, "kind", "assumed") == "assumed"
        self._given_for = None if vouched else _identity(self.encoder)

    def bound(self, input_shape: tuple[int, ...]) -> Reach:
        """What takes latent radii to pixels, for images of that shape (without the batch).

        Found once for the weights that the encoder has now. Raises StateError where it is not the
        encoder any more that a bound was given for, ModelContractError where a bound is to be found
        and a layer has none.
        """
        now = _identity(self.encoder)
        key = (now, tuple(input_shape), self.encoder_slack)
        if self._known is not None and now is not None and self._known[0] == key:
            return self._known[1]
        if self._given_for not in (None, now):
            raise StateError(
                "the encoder changed since its Lipschitz bound was given; bound it again and "
                "assign it: model.lipschitz = LipschitzBound.of(...), or None"
            )
        refuse_training(self.encoder)
        found = reach_of(self.encoder, input_shape, self._given, self.encoder_slack)
        self._known = key, found
        return found

    # ------------------------------------------------------------------ verbs
    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K) of images (N, ...), float64 for float64 images, else float32.

        The head's, less the least of each row: a constant to every loss, and >= 0, since attacks
        that mask classes by zeros (CW of torchattacks) take an answer below 0 for a masked one.
        The argmax is that of the head in float64, however near the edge.
        """
        logits = self.head.half_scores(self.latents(images))
        shifted = logits - logits.amin(1, keepdim=True).detach()
        return _same_answer(shifted, images.dtype)

    def latents(self, images: Tensor) -> Tensor:
        """What the encoder gives, as (N, d). Raises ModelContractError for anything else."""
        z = self.encoder(images)
        if not isinstance(z, Tensor) or z.dim() < 2 or len(z) != len(images):
            shape = tuple(z.shape) if isinstance(z, Tensor) else type(z).__name__
            raise ModelContractError(
                f"the encoder gave {shape} for {len(images)} images, expected a tensor (N, d)"
            )
        z = z.flatten(1)
        if z.shape[1] != self.head.dim:
            raise ModelContractError(
                f"the encoder gives latents of {z.shape[1]} numbers, the head was fitted on "
                f"{self.head.dim}; fit it on this encoder's latents"
            )
        return z

    def certify(
        self,
        data: Any,
        labels: Any = None,
        *,
        ids: Any = None,
        batch_size: int = 256,
        progress: bool = False,
    ) -> Certificates:
        """Labels and radii for every image of `data`, in input order.

        data: tensor (N, ...) in [0, 1] with `labels` (N,) or none, Dataset, DataLoader or iterable
        of batches (tuples or dicts), as for `measure` of a probe. ids: own sample ids. All images
        have one shape. Rows with NaN or infinite latents abstain; a batch on which the encoder
        raises ends as rows FAILED. One forward row-pass an image, and the bound once a call.

        Raises InputError at the door, StateError in training mode (modes are never switched
        silently: what is certified is what is deployed), ModelContractError for a model in half
        precision or when no image got finite latents, StatusError for a bound of one image's ball
        with several images.
        """
        refuse_training(self.encoder)
        refuse_short(self.encoder)
        batch_size = parse_whole(batch_size, "batch_size", 1)
        stream = Stream(
            data,
            labels,
            ids=ids,
            batch_size=batch_size,
            bounds=BOUNDS,
            prepare=lambda images: prepared(self, images),
            need_labels=False,
        )
        model, finished = describe_model(self), Finished("none")
        started = time.perf_counter()
        shape: tuple[int, ...] | None = None
        reach: Reach | None = None
        with measuring.bar(stream.total, "Ellips", progress) as shown:
            for batch in stream:
                shape = same_shape(batch.images, shape)
                with session(self):
                    reach = self.bound(shape) if reach is None else reach
                    finished.add(self.certify_batch(batch, reach))
                shown.update(len(batch))
        finished.refuse_nothing()
        cost = Cost(len(finished.table), 0, time.perf_counter() - started)
        settings = {} if reach is None else self.settings(shape or (), reach)
        origin = {"model": model, "batch_size": batch_size}
        return self._result(stream, finished, settings, origin, cost)

    def certify_batch(self, batch: Batch, reach: Reach) -> Rows:
        """Finished rows of checked pixels, inside a runner's own session; reach: of their shape."""
        if batch.labels is not None:
            check_label_range(batch.labels, self.head.n_classes)
        try:
            z = encoded(self.latents, batch.images, self.encoder)
        except ModelContractError as error:
            return raised_on(batch, error)
        found = self.head.radii(z, self.method)
        radius, used = reach.pixels(batch.images, found.radius)
        return certified_rows(batch, found, radius, used, z.isfinite().all(1).cpu())

    def settings(self, input_shape: tuple[int, ...], reach: Reach) -> dict[str, Any]:
        """What the radii are and rest on, in JSON types; part of the digest.

        L has six digits here (its last ones differ from machine to machine); rows hold it in full.
        """
        return {
            "certifier": "Ellips",
            "method": self.method,
            "tier": tier_of(reach.known, self.paper_mode),
            "norm": "L2",
            **reach.facts(),
            "covariance": self.head.covariance,
            "n_classes": self.head.n_classes,
            "n_inputs": int(torch.Size(input_shape).numel()),
            "bounds": list(BOUNDS),
        }

    # ------------------------------------------------------------------ the result
    def _result(
        self,
        stream: Stream,
        finished: Finished,
        settings: dict[str, Any],
        origin: dict[str, Any],
        cost: Cost,
    ) -> Certificates:
        result = measuring.result_of(
            Certificates,
            finished.table,
            stream,
            settings=settings,
            provenance={
                **origin,
                "device": str(self.head.means.device),
                "normalised_input": False,
                "versions": versions(),
                "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            },
            cost=cost,
            sidecars=(),
        )
        assert isinstance(result, Certificates)
        flags = *failed_flag(result, finished.failure), *lost_flags(self)
        found = *flags, *measuring.flags_of(result, stream, trained=False)
        measuring.flagged(result, found)
        return result.with_flags(found)


def _identity(encoder: nn.Module) -> tuple[str, str] | None:
    """Its weights and its layers; None where the weights cannot be hashed."""
    found = fingerprint(encoder).sha256
    return None if found is None else (found, repr(encoder))


def _same_answer(logits: Tensor, dtype: torch.dtype) -> Tensor:
    """float64 logits (N, K) in float64 or float32, a rounding lifted where it hides the answer."""
    if dtype == torch.float64:
        return logits
    rounded, best = logits.float(), logits.argmax(1)
    hidden = rounded.argmax(1) != best
    place, held = best.unsqueeze(1), rounded.detach()
    above = torch.nextafter(held.amax(1), torch.full_like(held[:, 0], torch.inf))
    lift = (above - held.gather(1, place)[:, 0]) * hidden
    return rounded + torch.zeros_like(held).scatter_(1, place, lift.unsqueeze(1))
