"""Has every kind of model the numbers of the plain module, or the words of its refusal?

Slow: seconds a kind. Kinds of other packages are skipped where those are missing, and left to a run
by hand (docs/models.md) where TAX_COMPAT does not say "all".
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from kinds.case import VERBS, Case, Kind
from kinds.every import every
from kinds.verbs import ask, hushed

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module", params=every(), ids=lambda kind: kind.name)
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    """A kind, built once for its verbs."""
    kind: Kind = request.param
    why = kind.missing()
    if not why and kind.takes_long and os.environ.get("TAX_COMPAT") != "all":
        why = 'takes long: TAX_COMPAT is not "all"'
    if why:
        pytest.skip(why)
    with hushed():
        built = kind.build()
    yield built
    built.close()


@pytest.mark.parametrize("verb", VERBS)
def test_a_kind_has_the_numbers_of_the_plain_module(case: Case, verb: str) -> None:
    answer = ask(case, verb)
    assert answer.status != "different", answer.words
