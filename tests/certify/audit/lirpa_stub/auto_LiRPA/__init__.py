"""A stub of the interface of auto_LiRPA 0.7 that the adapter uses: intervals through small nets.

The names and arguments are those of the real package; the bounds are right for chains of Flatten,
Linear and ReLU. LIE is added to every margin, so that a test can make it claim too much.
"""

import torch

__version__ = "0.7.1"
LIE = 0.0


class PerturbationLpNorm:
    def __init__(self, eps=0, norm=float("inf"), x_L=None, x_U=None, eps_min=0):
        self.eps, self.norm, self.x_L, self.x_U = eps, norm, x_L, x_U


class BoundedTensor:
    def __init__(self, data, ptb=None):
        self.data, self.ptb = data, ptb


class BoundedModule:
    def __init__(
        self, model, global_input, bound_opts=None, device=None, verbose=False
    ):
        self.layers = list(model)
        assert global_input.device == torch.device(device)

    def compute_bounds(
        self,
        x=None,
        aux=None,
        C=None,
        method="backward",
        IBP=False,
        bound_lower=True,
        bound_upper=True,
    ):
        if method == "nothing":
            raise NotImplementedError("no such method")
        (bounded,) = x
        ball, center = bounded.ptb, bounded.data.flatten(1)
        *inner, last = [m for m in self.layers if not isinstance(m, torch.nn.Flatten)]
        if ball.norm == 2:
            assert not inner and ball.x_L is None
            weight, bias = C @ last.weight, C @ last.bias
            low = (weight @ center[:, :, None])[:, :, 0] + bias
            return low - ball.eps * weight.norm(dim=2) + LIE, None
        low, high = ball.x_L.flatten(1), ball.x_U.flatten(1)
        for layer in inner:
            if isinstance(layer, torch.nn.ReLU):
                low, high = low.relu(), high.relu()
                continue
            plus, minus = layer.weight.clamp(min=0), layer.weight.clamp(max=0)
            low, high = (
                low @ plus.T + high @ minus.T + layer.bias,
                high @ plus.T + low @ minus.T + layer.bias,
            )
        weight, bias = C @ last.weight, C @ last.bias
        plus, minus = weight.clamp(min=0), weight.clamp(max=0)
        found = (plus @ low[:, :, None] + minus @ high[:, :, None])[:, :, 0] + bias
        return found + LIE, None
