"""What is known of a model that was loaded by name? Itself, its pixels, its classes, its doubts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ...errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

    from ...data.loaders.classes import Names
    from ...models.preprocessing.facts import Preprocessing
    from ...results.base.facts import Flag


@dataclass(frozen=True, eq=False)
class Loaded:
    """A model with its name in a report.

    model: in eval mode, in the scale of its own preprocessing until it is :func:`prepared`.
    preprocessing: None where nobody says. unsaid: why it must be said by hand; "" where it need
    not be, as for a factory, whose model takes pixels. classes: names of its outputs, each with
    its synonyms; None where it has none. notes, flags: for the report.
    """

    model: nn.Module
    name: str
    preprocessing: Preprocessing | None = None
    unsaid: str = ""
    classes: Names | None = None
    notes: tuple[str, ...] = ()
    flags: tuple[Flag, ...] = ()

    def facts(self) -> dict[str, Any]:
        """What a report says of it beside class and weights, in JSON types."""
        found: dict[str, Any] = {}
        if self.preprocessing is not None:
            found["preprocessing"] = self.preprocessing.facts()
        if self.notes:
            found["notes"] = list(self.notes)
        return found


def prepared(
    loaded: Loaded,
    moments: tuple[list[float], list[float]] | None,
    size: tuple[int, int],
) -> Loaded:
    """The same on pixels in [0, 1]: by `moments` (mean, std) where they are given, else as its own
    preprocessing says.

    size: (H, W) of the images, which are doubted where the model was published with others. Raises
    ConfigError where a model needs a normalisation and nobody says which.
    """
    from ...models.normalised import NormalizedModel
    from ...models.preprocessing.pixels import on_pixels

    known = loaded.preprocessing
    if moments is not None:
        notes = loaded.notes
        if known is not None and (list(known.mean), list(known.std)) != moments:
            notes = (*notes, "--mean and --std take the place of its own preprocessing")
        plain = all(not mean for mean in moments[0]) and all(
            std == 1 for std in moments[1]
        )
        model = loaded.model if plain else NormalizedModel(loaded.model, *moments)
        return replace(loaded, model=model, preprocessing=None, notes=notes)
    if loaded.unsaid:
        raise ConfigError(
            f"{loaded.unsaid}; say --mean and --std (--mean 0 --std 1 where it takes pixels in "
            "[0, 1])"
        )
    if known is None:
        return loaded
    flags = (*loaded.flags, *_size_doubt(known, size))
    return replace(loaded, model=on_pixels(loaded.model, known), flags=flags)


def _size_doubt(known: Preprocessing, size: tuple[int, int]) -> tuple[Flag, ...]:
    from ...results.base.facts import Flag

    if known.size is None or known.size == size:
        return ()
    text = (
        f"the images are {size[0]} x {size[1]}, and the model was published with {known.size[0]} x "
        f"{known.size[1]} ({known.geometry}): nothing was resized, for eps would then be that of "
        "other pictures; --resize model does what its own transform does"
    )
    return (Flag("other_size", text),)
