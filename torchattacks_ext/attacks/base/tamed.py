"""How does a torchattacks attack hold a model without harming it?

`Attack` with its traps taken out.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torchattacks.attack import Attack

from ...data.door import check_labels
from ...errors import ConfigError, InputError
from ...models.logits import LogitsView, class_name
from ...models.meter import Meter
from ...models.normalised import check_channels, check_moments
from ...models.scores import Key, Outputs
from ...models.session import first_tensor, session
from ...models.skeletons import is_skeleton
from ...numerics.arguments import parse_whole
from ...numerics.ids import IdBook
from . import targets
from .settings import ProbeSettings

logger = logging.getLogger("torchattacks_ext")


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """What torchattacks prints goes to the log instead."""
    words = io.StringIO()
    with contextlib.redirect_stdout(words):
        yield
    if words.getvalue().strip():
        logger.info(words.getvalue().strip())


class TamedAttack(Attack):
    """torchattacks' Attack that gives back what it borrows, prints and draws nothing global.

    Base of :class:`~torchattacks_ext.Probe`; not for use by itself. `self.model` stays the
    caller's object (MultiAttack compares it); adapters live in a view that only `get_logits`
    sees.
    """

    config: ProbeSettings
    # torchattacks' __setattr__ walks through lists and dicts looking for attacks to adopt: it
    # fails on lists of tensors and overwrites the models of nested attacks.
    __setattr__ = object.__setattr__

    def __init__(self, name: str, model: Any) -> None:
        if not callable(model):
            raise ConfigError(
                f"model is {type(model).__name__}, expected a Module or a callable that maps "
                "images (N, ...) to scores (N, K)"
            )
        self._meter = Meter()
        with silenced():
            super().__init__(name, model)

    # ------------------------------------------------------------------ the model
    @property
    def device(self) -> torch.device | None:
        """Where the model is now.

        That of its first parameter or buffer, else what `set_device` said, else "meta" for a model
        whose weights are all skeletons.
        """
        sample = first_tensor(self.model)
        chosen: torch.device | None = self.__dict__.get("_chosen_device")
        if sample is None and chosen is None and is_skeleton(self.model):
            return torch.device("meta")
        return chosen if sample is None else sample.device

    @device.setter
    def device(self, value: Any) -> None:
        """torchattacks assigns the device once, at construction; ours is looked up at each call."""

    def set_device(self, device: Any) -> None:
        """Device of a model without parameters; that of others is where their parameters are."""
        self._chosen_device = None if device is None else torch.device(device)

    def set_model(self, model: Any, meter: Meter | None = None) -> None:
        """Measure another model from now on; meter: count its row-passes there (a runner's)."""
        self.model = model
        self.model_name = class_name(model)
        if meter is not None:
            self._meter = meter

    @property
    def _view(self) -> LogitsView:
        view: LogitsView | None = self.__dict__.get("_view_cache")
        meter, reading = self._meter, self._reading
        same = view is not None and view.model is self.model and view.meter is meter
        if view is None or not same or (view.outputs, view.key) != reading:
            view = LogitsView(self.model, reading[0], meter, reading[1])
            self._view_cache = view
        return view

    @property
    def _reading(self) -> tuple[Outputs, Key]:
        """How the model's output is read."""
        return self.config.outputs, self.config.output_key

    def get_logits(
        self, inputs: Tensor, labels: Any = None, *args: Any, **kwargs: Any
    ) -> Tensor:
        """Logits (N, K) of pixels (inside a call) or of the caller's inputs.

        N forward row-passes.
        """
        if self._normalization_applied is False:
            inputs = self.normalize(inputs)
        logits: Tensor = self._view(inputs)
        return logits

    def get_output_with_eval_nograd(self, inputs: Tensor) -> Tensor:
        """Logits (N, K) without gradient, the model's modes given back. N forward row-passes."""
        with self._borrowed(), torch.no_grad():
            return self.get_logits(inputs)

    def _borrowed(self) -> contextlib.AbstractContextManager[None]:
        return session(
            self.model, training=self._model_training, dropout=self._dropout_training
        )

    @contextlib.contextmanager
    def _session(self) -> Iterator[None]:
        """Model borrowed, pixels inside, no inference mode; all given back whatever happens."""
        applied = self._normalization_applied
        with torch.inference_mode(False), self._borrowed():
            try:
                if applied:
                    self._normalization_applied = False
                yield
            finally:
                self._normalization_applied = applied

    # ------------------------------------------------------------------ normalisation
    def _set_normalization_applied(self, flag: bool) -> None:
        if self.normalization_used is not None:
            self._normalization_applied = flag

    def set_normalization_used(self, mean: Any, std: Any) -> None:
        """The model wants (images - mean) / std, and so come the caller's inputs.

        mean, std: per channel, or one number for all, in the scale of `bounds`.
        Raises ConfigError for unequal lengths, a std that is not positive, another scale.
        """
        mean, std = check_moments(mean, std, self.config.bounds)
        super().set_normalization_used(mean, std)

    def _moments(self, like: Tensor) -> tuple[Tensor, Tensor]:
        used = self.normalization_used
        if used is None:
            raise ConfigError("no normalisation is set; call set_normalization_used")
        check_channels(like, used["mean"].numel())
        shape = (1, -1) + (1,) * (like.dim() - 2)
        return used["mean"].to(like).reshape(shape), used["std"].to(like).reshape(shape)

    def normalize(self, inputs: Tensor) -> Tensor:
        """Pixels to the model's scale, for any number of dimensions."""
        mean, std = self._moments(inputs)
        return (inputs - mean) / std

    def inverse_normalize(self, inputs: Tensor) -> Tensor:
        """The model's scale to pixels."""
        mean, std = self._moments(inputs)
        return inputs * std + mean

    @staticmethod
    def load(
        load_path: Any,
        batch_size: int = 128,
        shuffle: bool = False,
        normalize: Any = None,
        load_predictions: bool = False,
        load_clean_inputs: bool = False,
    ) -> Any:
        """A DataLoader of what `save` wrote, as `Attack.load` gives it; nothing is printed."""
        with silenced():
            return Attack.load(
                load_path,
                batch_size,
                shuffle,
                normalize,
                load_predictions,
                load_clean_inputs,
            )

    # ------------------------------------------------------------------ modes and targets
    def set_mode_default(self) -> None:
        """Untargeted mode: a failure is argmax != label."""
        with silenced():
            super().set_mode_default()

    def _set_mode_targeted(self, mode: str, quiet: bool = False) -> None:
        if "targeted" not in self.supported_mode:
            raise ConfigError(
                f"{self.attack} has no targeted mode; its modes are {self.supported_mode}"
            )
        with silenced():
            super()._set_mode_targeted(mode, quiet)

    # torchattacks' own setters go by the name wrapper_func and have neither signature nor
    # words; they also change the mode before they look at kth_min.
    def set_mode_targeted_by_function(
        self, target_map_function: Callable[..., Tensor], quiet: bool = False
    ) -> None:
        """Targets (N,) are target_map_function(images, labels); a failure is argmax == target."""
        if not callable(target_map_function):
            raise ConfigError(
                f"target_map_function is {type(target_map_function).__name__}, expected a function "
                "of (images, labels); for targets in place of labels: set_mode_targeted_by_label()"
            )
        super().set_mode_targeted_by_function(target_map_function, quiet)

    def set_mode_targeted_random(self, quiet: bool = False) -> None:
        """Targets are drawn by (seed, content of the image); a failure is argmax == target."""
        super().set_mode_targeted_random(quiet)

    def set_mode_targeted_least_likely(
        self, kth_min: int = 1, quiet: bool = False
    ) -> None:
        """Targets are the classes of the kth_min-th smallest score.

        A failure is argmax == target.
        """
        kth_min = parse_whole(kth_min, "kth_min", 1)
        super().set_mode_targeted_least_likely(kth_min, quiet)

    def set_mode_targeted_by_label(self, quiet: bool = False) -> None:
        """Targets are given in the place of labels; a failure is argmax == target."""
        super().set_mode_targeted_by_label(quiet)

    def set_model_training_mode(
        self,
        model_training: bool = False,
        batchnorm_training: bool = False,
        dropout_training: bool = False,
    ) -> None:
        """Training mode inside a call (for RNNs) and dropout, both flagged in results.

        Raises ConfigError for batchnorm_training=True: rows of a batch would depend on each other.
        """
        if batchnorm_training:
            raise ConfigError(
                "batchnorm_training=True makes the rows of a batch depend on each other, so that "
                "no per-image number holds; leave it False"
            )
        super().set_model_training_mode(model_training, False, dropout_training)

    def _ids(self, images: Tensor, labels: Tensor | None) -> Tensor:
        return IdBook().assign(images, labels, self.config.bounds).to(images.device)

    def get_random_target_label(self, inputs: Tensor, labels: Any = None) -> Tensor:
        """Targets (N,) drawn by (seed, content of the image and label), never the label.

        Where labels is None, never the prediction. The targets of a call, and of a `measure`
        that is given no ids. N forward row-passes.
        """
        images = (
            self.inverse_normalize(inputs) if self._normalization_applied else inputs
        )
        logits = self.get_output_with_eval_nograd(inputs)
        if labels is not None:  # part of the id, as in a call and in `measure`
            labels = check_labels(labels, len(images)).to(images.device)
        ids = self._ids(images.detach(), labels)
        return targets.random_targets(self.config.seed, ids, logits, labels)

    def get_least_likely_label(self, inputs: Tensor, labels: Any = None) -> Tensor:
        """Targets (N,).

        The class of the kth_min-th smallest score, never the label. N row-passes.
        """
        logits = self.get_output_with_eval_nograd(inputs)
        return targets.least_likely_targets(logits, labels, self._kth_min)

    def _targets(self, ids: Tensor, images: Tensor, labels: Tensor | None) -> Tensor:
        """Targets (N,) of rows with known ids; runs inside a session, on pixels."""
        if self.attack_mode == "targeted(random)":
            logits = self.get_output_with_eval_nograd(images)
            return targets.random_targets(self.config.seed, ids, logits, labels)
        found = self.get_target_label(images, labels)
        if found is None:
            raise InputError(
                "targets are the labels here; pass measure(images, labels)"
            )
        return check_labels(found, len(images)).to(images.device)
