"""Is FIMScore right on trained nets: against float64, against the dense matrix, against Lanczos?"""

from __future__ import annotations

import copy
import warnings
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext import FIMScore, ReliabilityWarning
from torchattacks_ext.numerics.fisher.spectral import Ending

NETS = {
    "cifar10_resnet20_std": "cifar10",
    "cifar10_resnet2b_at2": "cifar10",
    "cifar10_vit_pgd": "cifar10",
    "mnist_trades": "mnist",
}


def measure(net: nn.Module, images: Tensor, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        return FIMScore(net, **options).measure(images, ids=range(len(images)))


def check(net: nn.Module, images: Tensor) -> None:
    """float32 within 5e-5 of float64, Lanczos within 1e-3, in both precisions."""
    oracle = measure(net, images, method="gram", dtype=torch.float64)
    exact = measure(net, images, method="gram")
    assert float((exact.log_lam - oracle.log_lam).abs().max()) < 5e-5
    for dtype in (None, torch.float64):
        search = measure(net, images, method="lanczos", dtype=dtype)
        done = search.ending == int(Ending.CONVERGED)
        assert float(done.double().mean()) >= 0.998
        error = (search.log_lam - oracle.log_lam).abs()[done]
        assert float(error.max()) < 1e-3
    assert (oracle.log_lam <= oracle.log_trace + 1e-9).all()
    assert (oracle.log_linf <= oracle.log_linf_upper + 1e-9).all()


@pytest.mark.parametrize(
    "name",
    [
        name if name.startswith("mnist") or "2b" in name else slow
        for name, slow in ((n, pytest.param(n, marks=pytest.mark.slow)) for n in NETS)
    ],
)
def test_trained_nets_meet_float64(real: ModuleType, name: str) -> None:
    images, _ = real.test_images(NETS[name], 6)
    check(real.model(name), images)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(NETS))
def test_fifty_images_of_trained_nets_meet_float64(real: ModuleType, name: str) -> None:
    images, _ = real.test_images(NETS[name], 50)
    check(real.model(name), images)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(NETS))
def test_five_images_meet_the_dense_matrix(real: ModuleType, name: str) -> None:
    net = real.model(name)
    images, _ = real.test_images(NETS[name], 5)
    found = measure(net, images, method="gram", dtype=torch.float64)
    twin = copy.deepcopy(net).double().eval()
    for i, image in enumerate(images.double()):
        jacobian = torch.autograd.functional.jacobian(
            lambda x: twin(x[None])[0].log_softmax(0), image
        ).flatten(1)
        with torch.no_grad():
            p = twin(image[None])[0].softmax(0)
        fisher = jacobian.T @ (p[:, None] * jacobian)  # scores have mean zero under p
        truth = float(torch.linalg.eigvalsh(fisher)[-1].log())
        assert float(found.log_lam[i]) == pytest.approx(truth, abs=1e-6)


def test_a_hundred_times_louder_logits_keep_their_digits(real: ModuleType) -> None:
    net = real.model("cifar10_resnet20_std")
    images, _ = real.test_images("cifar10", 6)

    class Loud(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: Tensor) -> Tensor:
            found: Tensor = 100 * self.net(x)
            return found

    found = measure(Loud(), images)
    truth = measure(Loud(), images, dtype=torch.float64)
    assert torch.isfinite(found.log_lam).all() and float(truth.log_lam.min()) < -500
    assert float((found.log_lam - truth.log_lam).abs().max()) < 1e-3


def test_batches_change_little_on_a_residual_net(real: ModuleType) -> None:
    net = real.model("cifar10_resnet20_std")
    images, _ = real.test_images("cifar10", 6)
    one = measure(net, images, batch_size=1)
    six = measure(net, images, batch_size=6)
    assert float((one.log_lam - six.log_lam).abs().max()) < 1e-4
