"""Which models give no gradient, or one of their own? Detached, NumPy, checkpoints, adaptation."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .kind import Before, Made, Shape, fresh, kind, plain, same


# ---------------------------------------------------------------------- none
@kind(gradient=False, weight=2)
def detached(shape: Shape) -> Made:
    net = fresh(shape)
    return Made(lambda images: net(images).detach(), plain(shape), owned=(net,))


@kind(gradient=False, weight=2)
def detached_input(shape: Shape) -> Made:
    return Made(Before(lambda images: images.detach(), fresh(shape)), plain(shape))


class _NoGrad(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        return self.net(images)


class _Inference(_NoGrad):
    @torch.inference_mode()
    def forward(self, images: Tensor) -> Tensor:
        return self.net(images)


class _Numpy(_NoGrad):
    def forward(self, images: Tensor) -> Tensor:
        return self.net(torch.from_numpy(images.numpy() * np.float32(1)))


class _NumpyDetached(_NoGrad):
    def forward(self, images: Tensor) -> Tensor:
        return self.net(torch.from_numpy(np.asarray(images.detach())))


@kind(gradient=False, weight=2)
def under_no_grad(shape: Shape) -> Made:
    return Made(_NoGrad(fresh(shape)), plain(shape))


@kind(gradient=False, weight=2)
def under_inference_mode(shape: Shape) -> Made:
    return Made(_Inference(fresh(shape)), plain(shape))


@kind(gradient=False, weight=2)
def numpy_inside(shape: Shape) -> Made:
    return Made(_Numpy(fresh(shape)), plain(shape))


@kind(gradient=False, weight=1)
def numpy_detached(shape: Shape) -> Made:
    return Made(_NumpyDetached(fresh(shape)), plain(shape))


@kind(gradient=False, weight=2)
def numpy_scores(shape: Shape) -> Made:
    net = fresh(shape)

    def scores(images: Tensor) -> Any:
        return net(torch.as_tensor(np.asarray(images.detach()))).detach().numpy()

    return Made(scores, plain(shape), owned=(net,))


@kind(gradient=False, modal=False, weight=2)
def inference_weights(shape: Shape) -> Made:
    with torch.inference_mode():
        net = fresh(shape)
        net = nn.Sequential(*net)
        for name, value in plain(shape).named_parameters():
            owner, _, leaf = name.rpartition(".")
            setattr(net.get_submodule(owner), leaf, nn.Parameter(value.clone(), False))
    return Made(net.eval(), plain(shape))


@kind(gradient=False, dear=True, weight=2)
def scikit_learn(shape: Shape) -> Made:
    from sklearn.linear_model import LogisticRegression

    classifier, twin = _logistic(LogisticRegression, shape)

    def scores(images: Tensor) -> Tensor:
        return torch.from_numpy(classifier.predict_proba(images.detach().flatten(1)))

    return Made(scores, twin, options={"outputs": "probs"})


@kind(gradient=False, dear=True, weight=1)
def scikit_learn_arrays(shape: Shape) -> Made:
    from sklearn.linear_model import LogisticRegression

    classifier, twin = _logistic(LogisticRegression, shape)
    return Made(lambda images: classifier.decision_function(images.flatten(1)), twin)


def _logistic(build: Any, shape: Shape) -> tuple[Any, nn.Module]:
    images = torch.rand(160, *shape, generator=torch.Generator().manual_seed(3))
    labels = plain(shape)(images).argmax(1)
    found = build(C=1, max_iter=200).fit(images.flatten(1).numpy(), labels.numpy())
    weight = torch.from_numpy(found.coef_).float()
    head = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        head.weight.copy_(weight)
        head.bias.copy_(torch.from_numpy(found.intercept_))
    return found, nn.Sequential(nn.Flatten(), head).eval()


# ---------------------------------------------------------------------- of its own
class _Checkpointed(nn.Module):
    def __init__(self, net: nn.Sequential, reentrant: bool) -> None:
        super().__init__()
        self.body, self.head, self.reentrant = net[:-1], net[-1], reentrant

    def forward(self, images: Tensor) -> Tensor:
        return self.head(checkpoint(self.body, images, use_reentrant=self.reentrant))


@kind()
def checkpointed(shape: Shape) -> Made:
    return Made(_Checkpointed(fresh(shape), False), plain(shape))


@kind(gradient=False, weight=2)
def checkpointed_reentrant(shape: Shape) -> Made:
    return Made(_Checkpointed(fresh(shape), True), plain(shape))


class _Purifies(nn.Module):
    """Takes a step on the images before it answers, by a gradient of its own."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        with torch.enable_grad():
            given = images.detach().requires_grad_()
            sure = self.net(given).logsumexp(1).sum()
            step = torch.autograd.grad(sure, given)[0]
        return self.net(images + 0.05 * step.tanh())


@kind()
def purifies(shape: Shape) -> Made:
    twin = _Purifies(plain(shape)).eval()
    return Made(_Purifies(fresh(shape)), lambda images: twin(images))


class _Tent(nn.Module):
    """Adapts itself in its forward: an entropy step on a gain of its own."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.gain = net, nn.Parameter(torch.ones(4))
        self.steps = torch.optim.SGD([self.gain], 1e-3)

    @torch.enable_grad()
    def forward(self, images: Tensor) -> Tensor:
        scores = self.net(images) * self.gain
        entropy = -(scores.softmax(1) * scores.log_softmax(1)).sum(1).mean()
        entropy.backward()
        self.steps.step()
        self.steps.zero_grad()
        return scores


@kind(refused="train itself in its forward.*frozen copy", weight=1)
def trains_in_forward(shape: Shape) -> Made:
    return Made(_Tent(fresh(shape)))


@kind()
def straight_through(shape: Shape) -> Made:
    def eight_bit(images: Tensor) -> Tensor:
        return images + ((images * 16).round() / 16 - images).detach()

    return Made(Before(eight_bit, fresh(shape)), Before(eight_bit, plain(shape)).eval())


@kind()
def functional(shape: Shape) -> Made:
    net = fresh(shape)
    state = dict(net.named_parameters()) | dict(net.named_buffers())
    call = torch.func.functional_call
    return Made(lambda x: call(net, state, (x,)), plain(shape), owned=(net,))


@kind()
def mapped_over_rows(shape: Shape) -> Made:
    net = fresh(shape)
    rows = torch.vmap(lambda image: net(image[None])[0])
    return Made(Before(same, _Held(net, rows)), plain(shape))


class _Held(nn.Module):
    def __init__(self, net: nn.Module, call: Any) -> None:
        super().__init__()
        self.net, self.call = net, call

    def forward(self, images: Tensor) -> Tensor:
        return self.call(images)
