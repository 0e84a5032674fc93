"""What does auto_LiRPA prove of each image? Its margins over a ball, where the user has it.

auto_LiRPA is no dependency: version 0.7 and later come from its repository
(github.com/Verified-Intelligence/auto_LiRPA), the package index ends at 0.3, which does not run
with numpy 2. What it says is a claim of another tool, to be held against its balls by `audit`.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import re
import time
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from ..._typing import Norm
from ...data.door import as_tensor, check_images, check_label_range, check_labels
from ...errors import BackendError, ConfigError, MissingExtra
from ...models.session import first_tensor, session
from ...numerics.arguments import parse_number, parse_whole
from ...numerics.ids import IdBook
from ...results.base.facts import Cost
from ...results.certificates import Certificates
from ..ellips.entrance import BOUNDS
from .foreign import foreign_certificates

NAME, OLDEST = "auto_LiRPA", (0, 7)
SOURCE = "pip install git+https://github.com/Verified-Intelligence/auto_LiRPA"
SLACK = 1e-4
"""Share of the largest score (at least 1) by which margins must exceed 0: bounds and net are in
float32, and neither rounds outward."""
NORMS = {"Linf": float("inf"), "L2": 2.0}


def lirpa_certificates(
    model: nn.Module,
    images: Any,
    labels: Any,
    *,
    eps: float,
    norm: Norm = "Linf",
    method: str = "CROWN",
    ids: Any = None,
    slack: float = SLACK,
    batch_size: int = 32,
) -> Certificates:
    """Images around which auto_LiRPA proves that every point of the ball gets their label.

    images (N, ...) in [0, 1], labels (N,). eps: of the closed ball in `norm`, "Linf" (cut to
    [0, 1], its edges rounded outward) or "L2" (not cut). method: one of auto_LiRPA's, such as
    "IBP", "CROWN-IBP", "CROWN" or "CROWN-Optimized". slack: an image is proved where the lower
    bound of each of its K - 1 margins exceeds slack times the largest of its scores (at least 1); a
    margin that is NaN proves nothing. The tier is "claimed by another tool": hold the result
    against its balls by :func:`.audit`. Cost: one forward row-pass an image, and the tool's own
    work, whose seconds the result has.

    Raises MissingExtra where auto_LiRPA is not installed, BackendError where it is older than 0.7,
    cannot be imported, or does not bound the model, ConfigError for settings outside their domains.
    """
    eps, slack = parse_number(eps, "eps"), parse_number(slack, "slack")
    batch_size = parse_whole(batch_size, "batch_size", 1)
    if not eps > 0 or norm not in NORMS:
        raise ConfigError(
            f"eps={eps!r} in norm={norm!r}: auto_LiRPA is asked for eps > 0 in one of "
            f"{sorted(NORMS)}"
        )
    if not isinstance(model, nn.Module):
        raise ConfigError(
            f"model is {type(model).__name__}; auto_LiRPA bounds a torch Module only"
        )
    tool, version = _tool()
    pixels = check_images(as_tensor(images, "images"), BOUNDS, torch.float32)
    wanted = check_labels(labels, len(pixels))
    began, asked = time.perf_counter(), _Asked(eps, norm, method, slack)
    with session(model):
        parts = [
            _proved(tool, model, some, right, asked)
            for some, right in zip(
                torch.split(pixels, batch_size), torch.split(wanted, batch_size)
            )
        ]
    book = IdBook()
    keys = book.given(ids) if ids is not None else book.assign(pixels, wanted, BOUNDS)
    far = torch.full((len(pixels),), eps, dtype=torch.float64)
    found = foreign_certificates(
        keys,
        far.masked_fill(~torch.cat(parts), torch.nan),
        wanted,
        norm=norm,
        verifier=f"{NAME} {version} {method}",
        n_inputs=pixels[0].numel(),
        closed=True,
    )
    return replace(found, cost=Cost(len(pixels), 0, time.perf_counter() - began))


@dataclass(frozen=True)
class _Asked:
    eps: float
    norm: Norm
    method: str
    slack: float


def _proved(
    tool: ModuleType, model: nn.Module, images: Tensor, labels: Tensor, asked: _Asked
) -> Tensor:
    """(N,) bool of one batch."""
    place = first_tensor(model)
    images = images if place is None else images.to(place)
    with torch.no_grad():
        scores = model(images)
    check_label_range(labels, scores.shape[1])
    edges: dict[str, Tensor] = {}
    if asked.norm == "Linf":
        edges = dict(zip(("x_L", "x_U"), clipped_ball(images, asked.eps)))
    try:
        ball = tool.PerturbationLpNorm(norm=NORMS[asked.norm], eps=asked.eps, **edges)
        bounded = tool.BoundedModule(
            model, torch.empty_like(images), device=images.device
        )
        low, _ = bounded.compute_bounds(
            x=(tool.BoundedTensor(images, ball),),
            C=differences(labels, scores.shape[1]).to(images),
            method=asked.method,
            bound_upper=False,
        )
    except Exception as error:
        raise BackendError(
            f"auto_LiRPA ({asked.method}) does not bound this {type(model).__name__}: {error}"
        ) from error
    shape = len(images), scores.shape[1] - 1
    if not isinstance(low, Tensor) or tuple(low.shape) != shape:
        kind = tuple(low.shape) if isinstance(low, Tensor) else type(low).__name__
        raise BackendError(f"auto_LiRPA gave {kind} as margins, expected {shape}")
    least = asked.slack * scores.abs().amax(1, keepdim=True).clamp(min=1)
    proved: Tensor = (low.detach() > least).all(1)
    return proved.cpu()


def clipped_ball(images: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Lowest and highest pixels of the Linf ball within [0, 1], rounded outward.

    >>> low, high = clipped_ball(torch.tensor([[0.0, 0.5, 0.99]]), 0.1)
    >>> low.tolist()[0][0], high.tolist()[0][2], bool(low[0, 1] <= 0.4 <= high[0, 1])
    (0.0, 1.0, True)
    """
    low, high = (images.double() - eps).to(images), (images.double() + eps).to(images)
    far = torch.full_like(images, torch.inf)
    low, high = torch.nextafter(low, -far), torch.nextafter(high, far)
    return low.clamp(min=0), high.clamp(max=1)


def differences(labels: Tensor, n_classes: int) -> Tensor:
    """(N, K - 1, K): rows that take the score of the label less that of each rival, in order.

    >>> differences(torch.tensor([1]), 3).tolist()
    [[[-1.0, 1.0, 0.0], [0.0, 1.0, -1.0]]]
    """
    eye = torch.eye(n_classes)
    rivals = torch.ones(len(labels), n_classes, dtype=torch.bool)
    rivals[torch.arange(len(labels)), labels.cpu()] = False
    found = eye[labels.cpu()][:, None] - eye[None]
    return found[rivals].reshape(len(labels), n_classes - 1, n_classes)


def _tool() -> tuple[ModuleType, str]:
    """The installed package and its version."""
    if importlib.util.find_spec(NAME) is None:
        raise MissingExtra(
            f"{NAME} is not installed; it is not in the package index in a version that runs: "
            f"{SOURCE}"
        )
    try:
        version = importlib.metadata.version(NAME)
    except importlib.metadata.PackageNotFoundError:  # a checkout on the path
        version = ""
    if version:
        _refuse_old(version)
    try:
        tool = importlib.import_module(NAME)
    except Exception as error:
        raise BackendError(
            f"{NAME} {version} cannot be imported: {error}; {SOURCE}"
        ) from error
    version = version or str(getattr(tool, "__version__", "unknown"))
    _refuse_old(version)
    return tool, version


def _refuse_old(version: str) -> None:
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if numbers < OLDEST:
        raise BackendError(
            f"{NAME} {version} is older than {'.'.join(map(str, OLDEST))}, whose interface is "
            f"used here; {SOURCE}"
        )
