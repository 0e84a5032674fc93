"""Which model is an l2-reclassifier on any trunk? Plugged on, fitted, attacked, kept."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from ...errors import InputError, ModelContractError
from ...models.adapters.shared_trunk import HeadView, SharedTrunk
from ...models.session import in_dtype_of, session
from . import surrogates as stand_ins
from .alone import Alone
from .head import HPMHead
from .prototypes import class_sums
from .settings import HPMSettings, read_settings
from .splitting import split_classifier, without
from .storing import read_tensors, write_tensors

Pairs = Iterable[tuple[Tensor, Tensor]]
"""Batches of images (N, ...) and labels (N,)."""


class HPMModel(nn.Module):
    """A trunk with a head of mixed prototypes (HPM); answers depend on the batch.

    Arguments:
        trunk (Module): images (N, ...) to features (N, d).
        head (HPMHead): features to logits.
        linear (str or None): where the linear head was in the classifier that the trunk comes
            from, as :meth:`from_classifier` found it. (Default: None)

    A defence, not a proof: what it is worth says :class:`~torchattacks_ext.MSA` with
    :meth:`surrogates`, beside the same numbers of the classifier before. Source: arXiv:2606.01746.
    Cost: one row-pass of the trunk a row.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    >>> hpm = HPMModel.from_classifier(net)
    >>> images, labels = torch.rand(6, 1, 2, 2), torch.arange(6) % 3
    >>> hpm.fit_prototypes([(images, labels)]).eval()(images).shape
    torch.Size([6, 3])
    """

    def __init__(
        self, trunk: nn.Module, head: HPMHead, linear: str | None = None
    ) -> None:
        super().__init__()
        self.trunk, self.head, self.linear = trunk, head, linear
        self._kept: dict[str, SharedTrunk] = {}  # no Module's: weights are counted once

    @classmethod
    def from_classifier(
        cls,
        net: nn.Module,
        settings: HPMSettings | None = None,
        images: Tensor | None = None,
    ) -> HPMModel:
        """HPM on a copy of a classifier that ends in a Linear.

        images (N, ...): a few inputs, where the graph of the net cannot be read; see
        :func:`.splitting.split_classifier`, also for what is refused (ConfigError).
        """
        trunk, fc, name = split_classifier(net, images)
        model = cls(trunk, HPMHead(fc, settings), name)
        return model.train(net.training)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K) of images (N, ...), each row in the company of the others."""
        logits: Tensor = self.head(self.trunk(images))
        return logits

    def forward_features(self, images: Tensor) -> Tensor:
        """Features (N, d)."""
        features: Tensor = self.trunk(images)
        return features

    def fit_prototypes(self, batches: Pairs) -> HPMModel:
        """C_glob := the mean of the features of each class, in eval mode; returns the model.

        batches: (images, labels) pairs, as a DataLoader gives them, or one pair of tensors; clean
        training images. One row-pass of the trunk a row. Raises InputError for classes without an
        image.
        """
        if isinstance(batches, tuple) and all(isinstance(x, Tensor) for x in batches):
            pair: Any = batches  # both tensors, as finetune_hpm takes them
            batches = [pair]
        k, place = self.head.n_classes, self.head.of_all.device
        total = torch.zeros(k, self.head.size, device=place, dtype=torch.float64)
        number = torch.zeros(k, device=place, dtype=torch.float64)
        with session(self), torch.no_grad():
            for images, labels in batches:
                z = self.trunk(in_dtype_of(self.trunk, images.to(place))).double()
                sums, n = class_sums(z, labels.to(place, torch.int64), k)
                total, number = total + sums, number + n
        if not bool((number > 0).all()):
            missing = (number == 0).nonzero().flatten().tolist()
            raise InputError(
                f"classes {missing[:10]} have no image, so no prototype; give images of every class"
            )
        self.head.set_prototypes((total / number.unsqueeze(1)).to(self.head.of_all))
        return self

    # ------------------------------------------------------------------ for attacks
    @property
    def head_view(self) -> HeadView:
        """The model as a head of the trunk that its surrogates share."""
        return self._shared().head("target")

    def surrogates(
        self, kinds: Iterable[str] = stand_ins.STANDARD
    ) -> dict[str, nn.Module]:
        """Name -> surrogate, images to logits, by the names of :mod:`.surrogates`.

        All stand on one trunk, which runs once for all that are asked about the same images; MSA
        finds that out. Surrogates that were asked for before stay good, but share no more. Raises
        ConfigError for an unknown name; "dset" is left out where the head has no C_glob.
        """
        wanted = [kinds] if isinstance(kinds, str) else kinds
        names = stand_ins.available(self.head, dict.fromkeys(wanted))
        heads = {n: stand_ins.make_surrogate(self.head, n) for n in names}
        shared = self._kept["shared"] = SharedTrunk(
            self.trunk, {"target": self.head, **heads}
        )
        return {
            name: (
                stand_ins.MeetingView(shared, name)
                if stand_ins.wants_to_meet(head)
                else shared.head(name)
            )
            for name, head in heads.items()
        }

    def _shared(self) -> SharedTrunk:
        if "shared" not in self._kept:
            self._kept["shared"] = SharedTrunk(self.trunk, {"target": self.head})
        return self._kept["shared"]

    def alone_in(self, clean: Tensor) -> Any:
        """Answers for single replaced rows of a clean batch (m, ...): one trunk row each, not m.

        Returns a function of images (r, ...) and their places (r,), to logits (r, K); see
        :class:`.alone.Alone`. m row-passes of the trunk for the clean batch.
        """
        with torch.no_grad():
            answers = Alone(self.head, self.trunk(in_dtype_of(self.trunk, clean)))

        def ask(images: Tensor, places: Tensor) -> Tensor:
            return answers(self.trunk(in_dtype_of(self.trunk, images)), places)

        return ask

    # ------------------------------------------------------------------ kept
    def facts(self) -> dict[str, Any]:
        """What a file says beside the weights, in JSON types."""
        fc = self.head.fc
        shape = [fc.in_features, fc.out_features, fc.bias is not None]
        return {
            "kind": "hpm",
            "settings": self.head.settings.facts(),
            "linear": self.linear,
            "fc": shape,
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """All weights and settings to a safetensors file."""
        write_tensors(path, self.state_dict(), self.facts())

    @classmethod
    def load(cls, path: str | os.PathLike[str], net: nn.Module) -> HPMModel:
        """The model of a file, in eval mode.

        net: the classifier that it was made from (its weights do not matter), or the trunk where it
        was made by hand; a copy is used. Raises InputError for another file or other weights.
        """
        tensors, facts = read_tensors(path)
        if facts.get("kind") != "hpm":
            raise InputError(f"{str(path)!r} holds no HPM model: {facts.get('kind')!r}")
        d, k, bias = facts["fc"]
        # draws nothing
        fc: nn.Linear = skip_init(nn.Linear, d, k, bias)  # type: ignore[no-untyped-call]
        head = HPMHead(fc, read_settings(facts["settings"]))
        for name, own in head.state_dict(keep_vars=True).items():
            own.data = own.data.to(tensors.get(f"head.{name}", own).dtype)
        model = cls(_trunk(net, facts["linear"]), head, facts["linear"])
        try:
            model.load_state_dict(tensors)
        except RuntimeError as error:
            words = " ".join(str(error).split())[:300]
            raise InputError(
                f"the weights in {str(path)!r} do not fit this {type(net).__name__}: {words}"
            ) from error
        return model.eval()


def _trunk(net: nn.Module, linear: str | None) -> nn.Module:
    import copy

    return copy.deepcopy(net) if linear is None else without(net, linear)


def check_hpm(model: object) -> None:
    """Raises ModelContractError for what is no HPMModel.

    >>> check_hpm(nn.Flatten())
    Traceback (most recent call last):
    torchattacks_ext.errors.ModelContractError: the model is a Flatten, expected an HPMModel: ...
    """
    if not isinstance(model, HPMModel):
        raise ModelContractError(
            f"the model is a {type(model).__name__}, expected an HPMModel: make one by "
            "HPMModel.from_classifier"
        )
