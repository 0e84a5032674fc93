"""How does a call give images, whatever a method does inside? The door, the call, and `save`."""

from __future__ import annotations

import logging
from abc import abstractmethod
from dataclasses import fields, replace
from reprlib import recursive_repr
from typing import Any, final

import torch
from torch import Tensor

from ..._typing import Norm
from ...data.door import as_tensor, check_images, check_labels
from ...errors import BackendError
from ...models.checks import ModelTraits, inspect_model
from ...models.logits import working_dtype
from ...models.scores import Key, Outputs
from ...numerics.quantise import quantise_towards
from ...results.base.words import percent_of
from .saving import SavedBatch, save_attack
from .settings import Setting
from .tamed import TamedAttack

logger = logging.getLogger("torchattacks_ext")

HIDDEN: tuple[str, ...] = ("model", "attack", "supported_mode", "config")
HIDDEN += ("told", "step_checks", "missing")
"""What a repr leaves out."""


class ImageAttack(TamedAttack):
    """The half of :class:`~torchattacks_ext.Probe` that gives images; not for use by itself.

    Its settings are read from `config` and can be assigned like torchattacks' own attributes.
    """

    eps = Setting[float]()
    norm = Setting[Norm]()
    seed = Setting[int]()
    batch_size = Setting[int]()
    bounds = Setting[Any]()
    outputs = Setting[Outputs]()
    output_key = Setting[Key]()
    n_queries = Setting["int | None"]()
    max_queries = Setting["int | None"]()
    max_seconds = Setting["float | None"]()
    keep = Setting[str]()

    def change_settings(self, **changes: Any) -> None:
        """Take other values of some settings, all of them or, where one is refused, none.

        Raises ConfigError for a value outside its domain. `attack.eps = 4 / 255` is this too.
        """
        self._configure(replace(self.config, **changes))

    def _configure(self, config: Any) -> None:
        """Take settings that were checked; a subclass derives here what hangs on them."""
        self.config = config

    @recursive_repr("...")
    def __repr__(self) -> str:
        """As torchattacks writes it, with what the attack was told in the place of `config`."""
        shown = {k: v for k, v in vars(self).items() if k[0] != "_" and k not in HIDDEN}
        told = {
            f.name: getattr(self.config, f.name) for f in fields(self.config) if f.init
        }
        used = {"normalization_used": self.normalization_used is not None}
        words = (f"{key}={value}" for key, value in (shown | told | used).items())
        return f"{self.attack}({', '.join(words)})"

    # ------------------------------------------------------------------ the door
    def _prepare(self, inputs: Any, normalised: bool) -> Tensor:
        """The caller's images as checked pixels on the model's device."""
        images = as_tensor(inputs, "images").detach()
        place = self.device
        if place is not None and place.type != "meta":  # no place to compute at
            images = images.to(place)
        if images.is_inference():
            images = images.clone()
        if normalised and images.dtype.is_floating_point and images.dim() > 1:
            images = self.inverse_normalize(images)
        return check_images(images, self.bounds, working_dtype(self.model))

    def _look(self, images: Tensor) -> ModelTraits:
        return inspect_model(self.model, self.get_logits, images, self._reading)

    def look(self, images: Tensor) -> ModelTraits:
        """What the model shows on a few rows of checked images (N, ...); inside a session.

        Cached with the model. At most 57 forward row-passes, 100 for a randomised model.
        """
        return self._look(images)

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
        found = save_attack(
            self._saved,
            data_loader,
            save_path,
            aimed=self.attack_mode == "targeted(label)",
            save_predictions=save_predictions,
            save_clean_inputs=save_clean_inputs,
            save_type=save_type,
        )
        if verbose:
            words = "%s: robust accuracy %s, mean L2 %.5f, %.2f s"
            left, *more = found
            logger.info(words, self.attack, percent_of(left / 100), *more)
        return found if return_verbose else None

    def _saved(self, given: Tensor, labels: Tensor, rounded: bool) -> SavedBatch:
        """One batch of a loader, attacked, as it will be saved and as it is then answered."""
        normalised = self._normalization_applied is True
        found = self(given, labels)
        with self._session():
            clean = self._prepare(given, normalised)
            pixels = self._prepare(found, normalised)
            if rounded:
                pixels = quantise_towards(clean, pixels)
            with torch.no_grad():
                logits = self.get_logits(pixels)
        return SavedBatch(clean, pixels, logits)
