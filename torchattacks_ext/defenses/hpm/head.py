"""How do features become logits by their distances to mixed prototypes? The head of HPM.

arXiv:2606.01746, sec. 3.6: L = z W^c + b are the logits of the linear head, P_ste its one-hot
answers with the gradient of the softmax; C_batch averages the features of the batch by P_ste;
C_hyb mixes it with C_glob, kept from training; logits are -||z - C_hyb||.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ConfigError, InputError, ModelContractError, StateError
from . import prototypes as means
from .mixers import make_mixer
from .settings import Assign, HPMSettings


class HPMHead(nn.Module):
    """Features (N, d) to logits (N, K) by mixed prototypes; answers depend on the batch.

    Arguments:
        fc (Linear): the linear head, d features to K classes; it names the class of each row.
        settings (HPMSettings or None): None is the paper's head, but for what HPMSettings calls
            ours. (Default: None)

    Buffers: `of_all` (K, d), C_glob, float32; `known` (K,) bool, the classes that have one. A
    forward pass never writes them, in whatever mode: C_glob moves by :meth:`update`, in training
    only. Half-precision features are computed with in float32, and autocast is off inside.

    Cost: no row-passes of a trunk; O(N K d), and O(K d^2) with the linear mixer. Raises ConfigError
    for a head that is no Linear, StateError in forward where classes have no C_glob yet.

    >>> head = HPMHead(nn.Linear(2, 2), HPMSettings(mixer="convex", share=1.0))
    >>> head.set_prototypes(torch.tensor([[0.0, 0.0], [3.0, 4.0]]))
    >>> head(torch.zeros(1, 2)).tolist()
    [[-0.0, -5.0]]
    """

    of_all: Tensor
    known: Tensor

    def __init__(self, fc: nn.Linear, settings: HPMSettings | None = None) -> None:
        super().__init__()
        if not isinstance(fc, nn.Linear):
            raise ConfigError(
                f"fc is a {type(fc).__name__}, expected the nn.Linear from features to classes"
            )
        self.fc = fc
        self.settings = settings or HPMSettings()
        self.n_classes, self.size = fc.out_features, fc.in_features
        place = fc.weight.device
        self.mixer = make_mixer(self.settings.mixer, self.size, self.settings.share)
        self.mixer.to(place)
        zeros = torch.zeros(self.n_classes, self.size, device=place)
        self.register_buffer("of_all", zeros)
        self.register_buffer("known", torch.zeros_like(zeros[:, 0], dtype=torch.bool))
        self.ready = not self.settings.use_global
        # asking the buffer in each forward would wait for the device
        hook: Any = self.register_load_state_dict_post_hook
        hook(_look_again)

    def forward(self, features: Tensor) -> Tensor:
        """Logits (N, K) of features (N, d), in float32 (float64 for double features)."""
        z = self.wide(features)
        with torch.autocast(z.device.type, enabled=False):
            return self.compare(z, self.mixed(z))

    # ------------------------------------------------------------------ parts, for surrogates
    def wide(self, features: Tensor) -> Tensor:
        """The features (N, d) in float32 or float64.

        Raises ModelContractError for another shape, StateError where C_glob is not known.
        """
        if features.ndim != 2 or features.shape[1] != self.size:
            raise ModelContractError(
                f"the trunk gave features {tuple(features.shape)}, the linear head takes "
                f"(N, {self.size}); flatten them at the end of the trunk"
            )
        if not self.ready:
            raise StateError(
                f"{int((~self.known).sum())} of {self.n_classes} classes have no prototype yet: "
                "call fit_prototypes on training images, or load weights that have them"
            )
        return features.to(torch.promote_types(features.dtype, torch.float32))

    def fc_logits(self, z: Tensor) -> Tensor:
        """Logits (N, K) of the linear head alone."""
        logits: Tensor = self.fc(z.to(self.fc.weight.dtype))
        return logits.to(z.dtype)

    def mixed(
        self, z: Tensor, assign: Assign | None = None, tau: float = 1.0
    ) -> Tensor:
        """C_hyb (K, d) of this batch; assign: another way than that of the settings."""
        kind = assign or self.settings.assign
        if kind == "none":
            return self.of_data(z)
        return self.mixed_by(z, means.assignments(self.fc_logits(z), kind, tau))

    def mixed_by(self, z: Tensor, weights: Tensor) -> Tensor:
        """C_hyb (K, d) with C_batch by these weights (N, K)."""
        return self.mix(means.batch_prototypes(z, weights, self.filling(z)))

    def of_data(self, z: Tensor) -> Tensor:
        """C_hyb (K, d) with C_batch := C_glob: no row depends on another. z: for its dtype.

        Raises ConfigError where the settings leave C_glob out.
        """
        if not self.settings.use_global:
            raise ConfigError(
                "this head has no prototypes of the data set (use_global=False); leave 'dset' out"
            )
        return self.mix(self.of_all.to(z))

    def filling(self, z: Tensor) -> Tensor | None:
        """C_batch (K, d) of classes without a row; None for zero."""
        return self.of_all.to(z) if self.settings.empty == "global" else None

    def mix(self, of_batch: Tensor, columns: Tensor | None = None) -> Tensor:
        """C_hyb from C_batch (..., K, d), or from that of some classes only.

        columns: (...,) the classes of `of_batch` (..., d); None: all K in order.
        """
        of_all = of_batch
        if self.settings.use_global:
            chosen = self.of_all if columns is None else self.of_all[columns]
            of_all = chosen.to(of_batch).expand_as(of_batch)
        mixed: Tensor = self.mixer(of_all, of_batch)
        return mixed

    def compare(self, z: Tensor, mixed: Tensor) -> Tensor:
        """Logits (N, K) against C_hyb (K, d), or (N, k, d) of each row's own."""
        return means.similarities(z, mixed, self.settings.distance)

    # ------------------------------------------------------------------ C_glob
    def set_prototypes(self, of_all: Tensor) -> None:
        """C_glob := (K, d), all finite. Raises InputError for anything else."""
        if of_all.shape != self.of_all.shape or not bool(of_all.isfinite().all()):
            raise InputError(
                f"prototypes {tuple(of_all.shape)} must be finite and of shape "
                f"{tuple(self.of_all.shape)}: one row a class"
            )
        with torch.no_grad():
            self.of_all.copy_(of_all)
            self.known.fill_(True)
        self.ready = True

    def update(self, features: Tensor, labels: Tensor) -> None:
        """C_glob after one more batch (N, d) with true labels (N,), eq. 14; in training mode only.

        Raises StateError in eval mode: what is measured must not move.
        """
        if not self.training:
            raise StateError(
                "prototypes move in training only: call model.train() first, or set_prototypes"
            )
        with torch.no_grad():
            z = self.wide(features).to(self.of_all.dtype)
            momentum = self.settings.momentum
            self.of_all.copy_(means.moved_average(self.of_all, z, labels, momentum))


def _look_again(head: Any, _: Any) -> None:
    """After weights were loaded: are all prototypes there?"""
    head.ready = not head.settings.use_global or bool(head.known.all())
