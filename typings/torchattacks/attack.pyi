from collections import OrderedDict
from collections.abc import Callable, Sequence
from os import PathLike
from typing import IO, Any, Literal, TypeVar

import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

_Method = TypeVar("_Method", bound=Callable[..., Any])
_Device = torch.device | str | int | None
_Channels = Sequence[float] | npt.NDArray[Any] | Tensor
_TargetMap = Callable[[Tensor, Tensor | None], Tensor]
_File = str | PathLike[str] | IO[bytes]

def wrapper_method(func: _Method) -> _Method: ...

# __setattr__ and __repr__ are object's own signatures, and a declared
# __setattr__ would make type checkers accept every misspelt attribute.
class Attack:
    attack: str
    # Documented as a Module; any callable is kept until __call__ reads .training.
    model: Any
    model_name: str
    device: torch.device | None
    attack_mode: str
    supported_mode: list[str]
    targeted: bool
    normalization_used: dict[str, Tensor] | None

    _attacks: OrderedDict[str, Attack]
    _target_map_function: _TargetMap | str | None
    _normalization_applied: bool | None
    _model_training: bool
    _batchnorm_training: bool
    _dropout_training: bool
    _kth_min: int

    def __init__(self, name: str, model: nn.Module | Callable[..., Any]) -> None: ...
    def forward(
        self, inputs: Tensor, labels: Tensor | None = None, *args: Any, **kwargs: Any
    ) -> Tensor: ...
    def set_model(self, model: nn.Module | Callable[..., Any]) -> None: ...
    def get_logits(
        self, inputs: Tensor, labels: Tensor | None = None, *args: Any, **kwargs: Any
    ) -> Tensor: ...
    def _set_normalization_applied(self, flag: bool) -> None: ...
    def set_device(self, device: _Device) -> None: ...
    def _set_rmodel_normalization_used(self, model: nn.Module) -> None: ...
    def set_normalization_used(self, mean: _Channels, std: _Channels) -> None: ...
    def normalize(self, inputs: Tensor) -> Tensor: ...
    def inverse_normalize(self, inputs: Tensor) -> Tensor: ...
    def get_mode(self) -> str: ...
    def set_mode_default(self) -> None: ...
    def _set_mode_targeted(self, mode: str, quiet: bool) -> None: ...
    def set_mode_targeted_by_function(
        self, target_map_function: _TargetMap, quiet: bool = False
    ) -> None: ...
    def set_mode_targeted_random(self, quiet: bool = False) -> None: ...
    def set_mode_targeted_least_likely(
        self, kth_min: int = 1, quiet: bool = False
    ) -> None: ...
    def set_mode_targeted_by_label(self, quiet: bool = False) -> None: ...
    def set_model_training_mode(
        self,
        model_training: bool = False,
        batchnorm_training: bool = False,
        dropout_training: bool = False,
    ) -> None: ...
    def _change_model_mode(self, given_training: bool) -> None: ...
    def _recover_model_mode(self, given_training: bool) -> None: ...
    # The triple (accuracy in percent, mean L2, seconds) with return_verbose=True.
    def save(
        self,
        data_loader: DataLoader[Any],
        save_path: _File | None = None,
        verbose: bool = True,
        return_verbose: bool = False,
        save_predictions: bool = False,
        save_clean_inputs: bool = False,
        save_type: Literal["float", "int"] = "float",
    ) -> tuple[float, float, float] | None: ...
    @staticmethod
    def to_type(inputs: Tensor, type: Literal["float", "int"]) -> Tensor: ...
    @staticmethod
    def _save_print(
        progress: float, rob_acc: float, l2: float, elapsed_time: float, end: str
    ) -> None: ...
    @staticmethod
    def load(
        load_path: _File,
        batch_size: int = 128,
        shuffle: bool = False,
        normalize: dict[str, Sequence[float]] | None = None,
        load_predictions: bool = False,
        load_clean_inputs: bool = False,
    ) -> DataLoader[tuple[Tensor, ...]]: ...
    def get_output_with_eval_nograd(self, inputs: Tensor) -> Tensor: ...
    def get_target_label(
        self, inputs: Tensor, labels: Tensor | None = None
    ) -> Tensor: ...
    def get_least_likely_label(
        self, inputs: Tensor, labels: Tensor | None = None
    ) -> Tensor: ...
    def get_random_target_label(
        self, inputs: Tensor, labels: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, inputs: Tensor, labels: Tensor | None = None, *args: Any, **kwargs: Any
    ) -> Tensor: ...
