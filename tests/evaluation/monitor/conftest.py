"""What do tests of `monitor` share? A net, images, and a reference of some of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from torchattacks_ext.evaluation.monitor import fit_reference
from torchattacks_ext.results.monitor import Reference
from torchattacks_ext.testing.props import balanced_net, example_images


class Scene(NamedTuple):
    """A net on 8 x 8 pictures; those of the reference, and others."""

    net: Any
    known: Any
    new: Any
    reference: Reference


@pytest.fixture(scope="package")
def scene() -> Scene:
    net, images = balanced_net(), example_images(400)
    known = images[:200]
    return Scene(net, known, images[200:], fit_reference(net, known))
