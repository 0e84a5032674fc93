"""Does training make certified radii larger, from its arguments alone, and go on after Ctrl-C?"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchattacks_ext.certify.ellips import EllipsHead
from torchattacks_ext.certify.encoders import Trained, orthogonal_mlp, train_encoder
from torchattacks_ext.certify.encoders.gaussians import Gaussians, radius_loss
from torchattacks_ext.certify.encoders.training import rate_at
from torchattacks_ext.errors import ConfigError, InputError, StateError
from torchattacks_ext.models.lipschitz import bound_net
from torchattacks_ext.samplers import CallableSampler

SHAPE = (1, 4, 4)


def _images(n: int = 240, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Three classes that differ in few pixels; each fifth image is of a noisy sort, so that no
    class is a Gaussian.
    """
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 3
    noise = torch.where(torch.arange(n) % 5 == 0, 0.25, 0.06).reshape(-1, 1, 1, 1)
    images = 0.5 + noise * torch.randn(n, 1, 4, 4, generator=g)
    for k in range(3):
        images[labels == k, 0, k + 1, k] += 0.3
    return images.clamp(0, 1), labels


def _train(**more: Any) -> Trained:
    images, labels = _images()
    settings = {"epochs": 6, "eps": 0.2, "temperature": 0.05, "batch_size": 40}
    return train_encoder(
        orthogonal_mlp(SHAPE, 6, [16]), images, labels, **(settings | more)
    )


def _radii(encoder: nn.Module, head: EllipsHead, images: Tensor, y: Tensor) -> Tensor:
    """Latent radii, 0 where the answer is wrong."""
    with torch.no_grad():
        found = head.radii(encoder(images))
    return torch.where(found.label == y, found.radius, 0.0)


def test_training_pays_on_new_images() -> None:
    """The mean radius up to the one asked for, against the fit of the start: 3 % here."""
    trained = _train(epochs=12)
    start = _train(epochs=1, lr=0, head_lr=0)
    images, labels = _images(600, seed=1)
    before, after = (
        float(_radii(t.encoder, t.head, images, labels).clamp(max=0.2).mean())
        for t in (start, trained)
    )
    assert after > 1.01 * before
    assert trained.losses[-1] < trained.losses[0]
    assert not trained.encoder.training


@pytest.mark.parametrize("covariance", ["full", "shared"])
def test_the_encoder_stays_orthogonal(covariance: str) -> None:
    """After any number of steps, by the rules for layers."""
    found = _train(epochs=2, lr=0.05, covariance=covariance)
    bound = bound_net(found.encoder, SHAPE)
    assert bound.scope == "global" and 0.99 < bound.value < 1 + 1e-5
    assert found.head.covariance == covariance


def test_nothing_but_the_arguments_decides() -> None:
    """Twice the same; the caller's encoder and the global generator stay as they are."""
    images, labels = _images()
    encoder = orthogonal_mlp(SHAPE, 6, [16])
    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    state = torch.random.get_rng_state()
    with torch.inference_mode():
        one = train_encoder(encoder, images, labels, epochs=2)
    torch.manual_seed(99)
    two = train_encoder(encoder, images, labels, epochs=2)
    torch.random.set_rng_state(state)
    other = train_encoder(encoder, images, labels, epochs=2, seed=1)
    assert torch.equal(state, torch.random.get_rng_state())
    for k, v in encoder.state_dict().items():
        assert torch.equal(before[k], v)
    assert one.losses == two.losses != other.losses
    assert torch.equal(one.head.factors, two.head.factors)
    for a, b in zip(one.encoder.parameters(), two.encoder.parameters()):
        assert torch.equal(a, b) and a is not b


def test_an_interrupted_training_goes_on(tmp_path: Path) -> None:
    """Ctrl-C inside the third epoch; the rest gives what one training gives."""
    calls = []

    def shifted(images: Tensor, u: Any) -> Tensor:
        calls.append(1)
        if len(calls) == stop:
            raise KeyboardInterrupt
        return images + 0.01 * u(1).reshape(-1, 1, 1, 1)

    law, stop = CallableSampler(shifted), 0
    whole = _train(epochs=4, augment=law)
    file = tmp_path / "run.safetensors"
    calls, stop = [], 15
    with pytest.raises(KeyboardInterrupt):
        _train(epochs=4, augment=law, checkpoint=file)
    calls, stop = [], 0
    rest = _train(epochs=4, augment=law, checkpoint=file)
    assert len(calls) == 2 * 6
    assert rest.losses == whole.losses
    assert torch.equal(rest.head.factors, whole.head.factors)
    again = _train(epochs=4, augment=law, checkpoint=file)
    assert torch.equal(again.head.factors, whole.head.factors)
    assert [p.name for p in tmp_path.iterdir()] == ["run.safetensors"]
    with pytest.raises(StateError, match="another training"):
        _train(epochs=4, checkpoint=file)
    file.write_bytes(b"no")
    with pytest.raises(InputError, match="cannot be read"):
        _train(epochs=4, augment=law, checkpoint=file)


def test_without_a_rate_only_the_head_learns() -> None:
    """The encoder is then the projection on the principal directions."""
    found = _train(lr=0, epochs=2)
    start = _train(lr=0, head_lr=0, epochs=1)
    for a, b in zip(found.encoder.parameters(), start.encoder.parameters()):
        assert torch.equal(a, b)
    assert not torch.equal(found.head.factors, start.head.factors)


def test_gaussians_measure_what_is_certified() -> None:
    """The least distance is the exact radius where the answer is right; they end as they began."""
    images, labels = _images()
    encoder = orthogonal_mlp(SHAPE, 6).eval()
    with torch.no_grad():
        z = encoder(images)
    head = EllipsHead.fit(z, labels, "full", 0.2)
    gaussians = Gaussians(head)
    found = gaussians.head()
    torch.testing.assert_close(found.factors, head.factors, rtol=1e-6, atol=1e-6)
    radii = head.radii(z)
    right = radii.label == labels
    with torch.no_grad():
        least = gaussians(z, labels).min(1).values
    assert int(right.sum()) > 150
    assert bool((least[~right] < 1e-4).all())
    off = (least[right] / radii.radius[right] - 1).abs()
    assert float(off.median()) < 1e-3 and float(off.quantile(0.95)) < 0.05


def test_the_loss_is_its_formula() -> None:
    """Also where exp would overflow."""
    r = torch.tensor([[1e4, 0.3, -0.2], [0.1, 1e4, 2.0]]).double()
    terms = [[0.7, 1.2], [0.9, -1.0]]
    wanted = [0.5 * math.log(1 + sum(math.exp(a / 0.5) for a in row)) for row in terms]
    assert float(radius_loss(r, 1.0, 0.5)) == pytest.approx(sum(wanted) / 2)
    assert float(radius_loss(torch.tensor([[1e4, -1e6]]), 0.0, 0.1)) == 1e6
    assert rate_at(0.075) == pytest.approx(0.5) and rate_at(0.575) == pytest.approx(0.5)


def test_any_encoder_of_plain_layers_learns() -> None:
    """In double precision, with dropout (which does not drop), with latents of another shape."""
    images, labels = _images(60)
    with torch.inference_mode():
        images = images.clone()
    body = orthogonal_mlp(SHAPE, 6)
    net = nn.Sequential(nn.Dropout(0.5), *body, nn.Unflatten(1, (2, 3))).double()
    net.requires_grad_(False)
    state = torch.random.get_rng_state()
    found = train_encoder(net, images.double(), labels, epochs=1, principal=False)
    assert torch.equal(state, torch.random.get_rng_state())
    assert found.head.dim == 6 and not next(net.parameters()).requires_grad
    assert next(found.encoder.parameters()).dtype == torch.float64


def test_a_loss_that_is_no_number_ends_the_training() -> None:
    """With the settings that may be at fault."""
    images, labels = _images(60)

    def torn(images: Tensor, u: Any) -> Tensor:
        return images * math.nan

    with pytest.raises(ConfigError, match="head_lr=0.003"):
        train_encoder(
            orthogonal_mlp(SHAPE, 2), images, labels, augment=CallableSampler(torn)
        )


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"batch_size": 1.5},
        {"eps": -1},
        {"temperature": 0},
        {"lr": math.nan},
        {"covariance": "diag"},
        {"shrinkage": 2},
        {"seed": -1},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    """Before the first pass."""
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        _train(**wrong)


def test_wrong_data_and_encoders_are_refused() -> None:
    """Each with its remedy."""
    images, labels = _images(30)
    net = orthogonal_mlp(SHAPE, 2)
    with pytest.raises(InputError):
        train_encoder(net, images, labels[:3])
    with pytest.raises(InputError, match="expected"):
        train_encoder(net, images.long(), labels)
    with pytest.raises(ConfigError, match="principal"):
        train_encoder(nn.Sequential(*net, nn.Identity()), images, labels)
    with pytest.raises(ConfigError, match="cannot be trained"):
        Gaussians(EllipsHead.from_parameters([[0.0], [1.0]], 1.0))
