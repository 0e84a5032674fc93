"""Which models answer in another form? Tuples, dicts, shapes, masks, probabilities, classes."""

from __future__ import annotations

from collections import namedtuple
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from .kind import ALL, Before, K, Made, Shape, fresh, kind, like, plain, same

Pair = namedtuple("Pair", ["features", "prediction"])
Named = namedtuple("Named", ["logits", "step"])


class Answers(nn.Module):
    """A net whose scores (and features, where they are asked for) are put into another form."""

    def __init__(self, net: nn.Sequential, form: Any) -> None:
        super().__init__()
        self.net, self.form = net, form

    def forward(self, images: Tensor) -> Any:
        features = self.net[:-1](images)
        return self.form(self.net[-1](features), features)


def _formed(form: Any, **about: Any) -> Any:
    options = about.pop("options", {})

    def make(shape: Shape) -> Made:
        return Made(Answers(fresh(shape), form), plain(shape), options=options)

    return make


# ---------------------------------------------------------------------- which part
@kind()
def dict_of_one(shape: Shape) -> Made:
    model = Answers(fresh(shape), lambda z, h: {"out": z, "loss": None, "n": len(h)})
    return Made(model, plain(shape))


for _name, _form, _options in (
    ("tuple_of_one", lambda z, h: (z, None), {}),
    ("list_with_a_map", lambda z, h: [h[:, :, None, None].expand(-1, -1, 2, 2), z], {}),
    ("named_tuple", lambda z, h: Named(z, 3), {}),
    (
        "object_with_logits",
        lambda z, h: SimpleNamespace(loss=None, logits=z, hidden_states=(h, h)),
        {},
    ),
    ("dict_with_logits", lambda z, h: {"features": h, "logits": z}, {}),
    ("dict_by_key", lambda z, h: {"features": h, "out": z}, {"output_key": "out"}),
    ("tuple_by_number", lambda z, h: (h, z), {"output_key": 1}),
    ("tuple_from_behind", lambda z, h: (h, z), {"output_key": -1}),
    ("pair_by_name", Pair._make, {}),
    ("four_axes", lambda z, h: z[:, :, None, None], {}),
    ("three_axes", lambda z, h: z[:, None], {}),
    ("squeezed", lambda z, h: z.squeeze(), {}),
    ("squeezed_row", lambda z, h: z.squeeze(0), {}),
    ("not_contiguous", lambda z, h: z.t().contiguous().t(), {}),
    ("double_scores", lambda z, h: z.double(), {}),
    ("half_scores", lambda z, h: z.half(), {}),
):
    if _name == "pair_by_name":
        _form, _options = lambda z, h: Pair(h, z), {"output_key": "prediction"}
    like("dict_of_one", _name, _formed(_form, options=_options), weight=1)

_ROUNDED = frozenset({"many_close_draws", "tied_margins", "not_converged"})


def _half_scores(shape: Shape) -> Made:
    twin = Answers(plain(shape), lambda z, h: z.half().float()).eval()
    model = Answers(fresh(shape), lambda z, h: z.half())
    return Made(model, lambda images: twin(images))


like("dict_of_one", "half_scores", _half_scores, weight=1, doubtful=_ROUNDED)
like(
    "dict_of_one",
    "features_first",
    _formed(lambda z, h: {"features": h, "out": z}),
    refused="more than one of them could be the scores.*output_key=",
    weight=1,
)
like(
    "dict_of_one",
    "pair_without_key",
    _formed(lambda z, h: Pair(h, z)),
    refused="more than one of them could be the scores.*output_key=",
    weight=1,
)
like(
    "dict_of_one",
    "class_numbers",
    _formed(lambda z, h: z.argmax(1)),
    refused="class numbers.*not how sure",
    weight=1,
)
like(
    "dict_of_one",
    "class_numbers_in_a_column",
    _formed(lambda z, h: z.argmax(1, keepdim=True)),
    refused="class numbers.*not how sure",
    weight=1,
)


# ---------------------------------------------------------------------- masks
def _last_out(scores: Tensor, value: float) -> Tensor:
    mask = torch.zeros(K, dtype=torch.bool)
    mask[K - 1] = True
    return scores.masked_fill(mask, value)


@kind()
def masked_class(shape: Shape) -> Made:
    twin = Before(same, plain(shape), lambda z: _last_out(z, -1e4)).eval()
    model = Before(same, fresh(shape), lambda z: _last_out(z, -torch.inf))
    return Made(model, twin)


def _underflowed(scores: Tensor) -> Tensor:
    return (100 * scores).softmax(1).log()


@kind(
    doubtful=frozenset({"saturated"}),
)
def log_of_underflow(shape: Shape) -> Made:
    twin = Before(same, plain(shape), lambda z: (100 * z).log_softmax(1)).eval()
    return Made(Before(same, fresh(shape), _underflowed), twin)


# ---------------------------------------------------------------------- one number, probabilities
def _two(scores: Tensor) -> Tensor:
    """The logit of class 1 against class 0."""
    return 2 * (scores[:, 1:2] - scores[:, :1])


def _beside_zero(single: Tensor) -> Tensor:
    return torch.cat([torch.zeros_like(single), single], dim=1)


@kind(doubtful=frozenset({"looks_like_probs"}))
def single_logit(shape: Shape) -> Made:
    twin = Before(same, plain(shape), lambda z: _beside_zero(_two(z))).eval()
    return Made(Before(same, fresh(shape), _two), twin, top=1)


@kind(weight=1, doubtful=frozenset({"looks_like_probs"}))
def single_logit_squeezed(shape: Shape) -> Made:
    twin = Before(same, plain(shape), lambda z: _beside_zero(_two(z))).eval()
    return Made(Before(same, fresh(shape), lambda z: _two(z)[:, 0]), twin, top=1)


@kind()
def probabilities(shape: Shape) -> Made:
    twin = Before(same, plain(shape), lambda z: z.log_softmax(1)).eval()
    model = Before(same, fresh(shape), lambda z: z.softmax(1))
    return Made(model, twin, options={"outputs": "probs"})


@kind(doubtful=frozenset({"looks_like_probs"}))
def single_probability(shape: Shape) -> Made:
    twin = Before(same, plain(shape), lambda z: _beside_zero(_two(z))).eval()
    model = Before(same, fresh(shape), lambda z: _two(z).sigmoid())
    return Made(model, twin, options={"outputs": "probs"}, top=1)


@kind(flags=frozenset({"looks_like_probs"}))
def probabilities_as_logits(shape: Shape) -> Made:
    model = Before(same, fresh(shape), lambda z: z.softmax(1))
    twin = Before(same, plain(shape), lambda z: z.softmax(1)).eval()
    return Made(model, twin)


@kind(refused="expected values\\s+in \\[0, 1\\]", weight=1)
def logits_as_probabilities(shape: Shape) -> Made:
    model = Before(same, fresh(shape), lambda z: z * 3 + 5)
    return Made(model, options={"outputs": "probs"})


# ---------------------------------------------------------------------- how it is called
class _Keyword(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, *, pixel_values: Tensor) -> dict[str, Tensor]:
        return {"logits": self.net(pixel_values)}


@kind(refused="called with one positional argument.*wrap it", weight=1)
def keyword_only(shape: Shape) -> Made:
    return Made(_Keyword(fresh(shape)))


@kind(weight=1)
def keyword_wrapped(shape: Shape) -> Made:
    net = _Keyword(fresh(shape))
    model = lambda images: net(pixel_values=images)  # noqa: E731
    return Made(model, plain(shape), owned=(net,))


@kind(
    refused="takes 6 rows only.*dynamic batch",
    modal=False,
    dear=True,
    may_end=("prtest", "blackbox", "fim", "zoo"),
    weight=1,
)
def fixed_batch(shape: Shape) -> Made:
    example = torch.rand(6, *shape, generator=torch.Generator().manual_seed(0))
    return Made(torch.export.export(fresh(shape), (example,)).module())


class _Statistics(nn.Module):
    """A batch statistic over features: one row alone is refused by torch."""

    def __init__(self, net: nn.Sequential) -> None:
        super().__init__()
        self.body, self.head = net[:-1], net[-1]

    def forward(self, images: Tensor) -> Tensor:
        features = self.body(images)
        normed = nn.functional.batch_norm(features, None, None, training=True)
        return self.head(normed)


@kind(
    refused="statistics refuse single rows",
    may_end=ALL,
    flags=frozenset(),
    doubtful=frozenset({"batch_dependent_model", "model_raised"}),
    weight=1,
)
def refuses_single_rows(shape: Shape) -> Made:
    return Made(_Statistics(fresh(shape)))


class _Raises(nn.Module):
    """Raises where the first pixel of a row is black, as a decoder that cannot read a file."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        if bool((images.flatten(1).amax(1) < 0.2).any()):
            raise ValueError("no object found in the picture")
        return self.net(images)


@kind(weight=3, doubtful=frozenset({"model_raised"}))
def raises_on_some_rows(shape: Shape) -> Made:
    return Made(_Raises(fresh(shape)), plain(shape), poisoned=True)
