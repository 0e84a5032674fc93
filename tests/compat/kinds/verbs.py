"""What does each verb say of a model of some kind, beside what it says of the plain module?

`ask` gives one Answer: equal, rounding (equal within the digits of a coarser dtype), refused or
doubted with the words, or different with what differs.
"""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

import torchattacks_ext as tax
from torchattacks_ext.engines.judge.ledger import AttackSpec
from torchattacks_ext.errors import TorchattacksExtError
from torchattacks_ext.results.base.result import Result

from .case import EQUAL, Case, on_digits, the_plain_net

PLAN = (
    AttackSpec("noise", on="target", steps=5),
    AttackSpec("apgd", loss="ce", steps=8),
    AttackSpec("apgd", loss="dlr", steps=8),
    AttackSpec("square", on="target", steps=60),
)
"""Every part of MSA that a gradient or a shape can break, few steps each."""


@dataclass(frozen=True)
class Answer:
    """status: equal, rounding, refused, doubted, different; words: what was said or differs."""

    status: str
    words: str = ""
    off: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """In JSON types."""
        return asdict(self)


def prtest(model: Any, images: Tensor, case: Case, options: Any) -> Result:
    """Verdicts at tolerance .05, at most 300 draws an image."""
    eps = options.pop("eps_scale") * case.noise
    test = tax.PRTest(
        model, eps=eps, tolerance=0.05, significance=0.05, n_max=300, **options
    )
    return test.measure(images, case.labels, ids=list(range(len(images))))


def fimscore(model: Any, images: Tensor, case: Case, options: Any) -> Result:
    """log lambda by the exact method, or as a black box where the model gives scores only."""
    options.pop("eps_scale")
    kinds = {"method": "blackbox", "n_directions": 40} if case.scores else {"kl": False}
    score = tax.FIMScore(model, **kinds, **options)  # type: ignore[arg-type]
    return score.measure(images, case.labels, ids=list(range(len(images))))


def msa(model: Any, images: Tensor, case: Case, options: Any) -> Result:
    """Who withstands a short plan of noise, APGD and Square."""
    eps = options.pop("eps_scale") * case.attack
    attack = tax.MSA(model, eps=eps, version="custom", plan=PLAN, **options)
    return attack.measure(images, case.labels, ids=list(range(len(images))))


RUNS: dict[str, Callable[[Any, Tensor, Case, Any], Result]] = {
    "PRTest": prtest,
    "FIMScore": fimscore,
    "MSA": msa,
}


@contextmanager
def hushed() -> Iterator[None]:
    """Libraries warn; doubts are read from the results."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def plain_numbers(case: Case, verb: str) -> Result:
    """The verb on the plain module; behind no_grad where the model gives no gradient either."""
    if case.plain is the_plain_net():
        return _numbers_of_the_plain_net(verb, case.scores)
    return _measured(case, verb)


@functools.cache
def _numbers_of_the_plain_net(verb: str, scores: bool) -> Result:
    """Most kinds are compared with these; measured once."""
    return _measured(on_digits(None, scores=scores), verb)


def _measured(case: Case, verb: str) -> Result:
    plain = case.plain
    if case.scores:
        plain = _without_gradient(plain)
    images = case.images if case.plain_images is None else case.plain_images
    with hushed():
        options = {**case.plain_options, "eps_scale": 1.0}
        return RUNS[verb](plain, images.clone(), case, options)


def _without_gradient(plain: Any) -> Callable[[Tensor], Tensor]:
    def scores(images: Tensor) -> Tensor:
        with torch.no_grad():
            found: Tensor = plain(images)
        return found

    return scores


def ask(case: Case, verb: str) -> Answer:
    """The verb on the model against the verb on the plain module."""
    images = case.images.clone()
    options = {**case.options, "eps_scale": case.scale}
    try:
        with hushed():
            found = RUNS[verb](case.model, images, case, options)
    except TorchattacksExtError as refusal:
        return _refused(case, verb, str(refusal))
    for status, said in (("refused", case.refused), ("doubted", case.doubted)):
        if verb in said:
            return _flagged(found, said[verb], status)
    if not torch.equal(images, case.images):
        return Answer("different", "the caller's images were written")
    answer = compared(case, verb, found, plain_numbers(case, verb))
    if verb == "FIMScore" and case.scores and answer.status == "equal":
        return _gradient_is_missed(case)
    return answer


def _refused(case: Case, verb: str, said: str) -> Answer:
    wanted = case.refused.get(verb)
    if wanted is None or re.search(wanted, said) is None:
        return Answer("different", f"refused: {said}")
    return Answer("refused", said)


def _flagged(found: Result, words: str, status: str) -> Answer:
    """A refusal may be a flag, where rows of other parts are left; a doubt always is."""
    texts = [(flag.message, f"{flag.code}: {flag.message}") for flag in found.flags]
    said = [message for message, text in texts if re.search(words, text)]
    if not said:
        return Answer("different", f"no word of {words!r}: {_codes(found)}")
    return Answer(status, said[0])


def _codes(result: Result) -> set[str]:
    return {flag.code for flag in result.flags}


def compared(case: Case, verb: str, found: Any, plain: Any) -> Answer:
    """Decisions, flags and measurements of two results."""
    told, expected = _codes(found), case.told.get(verb, _codes(plain))
    if told != expected:
        return Answer("different", f"flags {sorted(told)}, expected {sorted(expected)}")
    if verb != "FIMScore":
        same = found.verdict.tolist() == plain.verdict.tolist()
        words = f"verdicts {found.verdict.tolist()}, expected {plain.verdict.tolist()}"
        return Answer("equal") if same else Answer("different", words)
    off = float((found.log_lam - plain.log_lam - case.shift).abs().max())
    if not off <= case.allowed:
        return Answer("different", f"log lambda is off by {off:.2g}", off)
    return Answer("equal" if off <= EQUAL else "rounding", "", off)


def _gradient_is_missed(case: Case) -> Answer:
    """A method that needs a gradient may not give a number of a model without one in silence."""
    options = {**case.options, "kl": False}
    try:
        with hushed():
            found = tax.FIMScore(case.model, **options).measure(
                case.images.clone(), case.labels
            )
    except TorchattacksExtError as refusal:
        return Answer("equal", f'method="blackbox"; with a gradient refused: {refusal}')
    if "zero_gradient" not in _codes(found):
        return Answer("different", f"no gradient, and no word of it: {_codes(found)}")
    return Answer("equal", 'method="blackbox"; with a gradient the flag zero_gradient')
