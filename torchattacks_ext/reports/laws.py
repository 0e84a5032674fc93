"""What was drawn, in words? The law of a random test, its ball, its edge and its rounding."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .words import NOT_KNOWN, exact, exact_rate, one_line, radius

Facts = Mapping[str, Any]

_MOVES = {"rotation", "translation"}

_UNIFORM = {"linf": "Linf", "l2": "L2", "l1": "L1"}
_PADDING = {
    "zeros": "black",
    "border": "the edge pixel, repeated",
    "reflection": "mirrored at the edge",
}


def ball_text(settings: Facts) -> str:
    """The ball in words, or "" where the settings name none.

    >>> ball_text({"norm": "Linf", "eps": 8 / 255})
    'Linf ball of radius 8/255'
    """
    if settings.get("norm") is None or settings.get("eps") is None:
        return ""
    return f"{one_line(settings['norm'], 20)} ball of radius {radius(settings['eps'])}"


def law_of(settings: Facts) -> Facts:
    """What the settings of a test say of its law; empty where they say nothing.

    >>> law_of({"sampler": "gaussian"})
    {'name': 'gaussian'}
    """
    law = settings.get("sampler")
    if isinstance(law, Mapping):
        return law
    return {} if law is None else {"name": str(law)}


def law_ball(settings: Facts) -> str:
    """The ball that holds every draw of a test, in words; "" where none does.

    >>> law_ball({"norm": "L2", "eps": 0.5, "sampler": {"name": "gaussian", "eps": None}})
    ''
    """
    law = law_of(settings)
    if not law or ("eps" not in law and _built_in(law) in _UNIFORM):
        return ball_text(settings)
    return ball_text(law)


def law_text(settings: Facts) -> str:
    """The kind of random perturbation of a PRTest in words.

    >>> law_text({"norm": "Linf", "eps": 8 / 255, "sampler": None})
    'uniform noise in the Linf ball of radius 8/255'
    >>> law_text({"sampler": {"name": "affine", "rotation": 10.0, "scale": 0.1}})
    'rotation up to 10°, scale 0.9 to 1.1'
    """
    law = law_of(settings)
    name = _built_in(law)
    if not law or name in _UNIFORM:
        facts = {**settings, **{k: v for k, v in law.items() if v is not None}}
        clamp = _edge(law) if law.get("boundary") == "clamp" else ""
        return f"uniform noise in the {ball_text(facts) or 'stated ball'}{clamp}"
    said = _WORDS[name](law) if name in _WORDS else ""
    if said:
        return said
    ball = ball_text(law)
    own = one_line(law.get("name", ""), 60)
    return f"the law “{own}”" + (f" within the {ball}" if ball else "")


def boundary_text(settings: Facts) -> str:
    """What happens to values beyond the range of the images; "n/a" for a law of the user's own.

    >>> boundary_text({"sampler": {"name": "gaussian", "boundary": "none", "bounds": None}})
    'none: values may leave the range of the images'
    """
    law = law_of(settings)
    name = _built_in(law)
    if name == "eight_bit":
        return boundary_text({"sampler": law.get("law")})
    if name == "compose":
        parts = [(_built_in(one), _inner(one, boundary_text)) for one in _laws(law)]
        return "; ".join(f"{part or 'own law'}: {said}" for part, said in parts)
    if name == "affine":
        edge = _PADDING.get(str(law.get("padding")), NOT_KNOWN)
        return f"what comes in from outside the image is {edge}"
    if name == "corruption":
        return "clamp: a value outside [0, 1] is set to the nearer bound"
    if name is None or not {"boundary", "bounds"} & set(law):
        return NOT_KNOWN
    kind = law.get("boundary", "clamp")  # photometric has one boundary only
    if kind == "none" or law.get("bounds") is None:
        return "none: values may leave the range of the images"
    inside = _range(law["bounds"])
    if kind == "truncate":
        return f"truncate: the law given that every value lies in {inside}"
    return f"clamp: a value outside {inside} is set to the nearer bound"


def rounding_text(settings: Facts) -> str:
    """Whether draws are rounded to 8-bit levels; "n/a" where that is not known.

    >>> rounding_text({"sampler": {"name": "eight_bit", "law": {"name": "linf"}}})
    '8 bits: every draw is rounded to a level k/255'
    """
    law = law_of(settings)
    name = _built_in(law)
    if name == "compose" and _laws(law):
        last = _inner(_laws(law)[-1], rounding_text)
        inner = [_inner(one, rounding_text) for one in _laws(law)[:-1]]
        coarse = any(said[0] == "8" for said in inner) and last[0] != "8"
        return "8 bits between the laws, not at the end" if coarse else last
    if name == "eight_bit":
        return "8 bits: every draw is rounded to a level k/255"
    if name == "corruption" and not kinds(settings) & _MOVES:
        return "8 bits: every draw is cut off to a level k/255"
    return NOT_KNOWN if name is None else "none"


def kinds(settings: Facts) -> set[str]:
    """Which of rotation, translation and blur the law holds, by itself or inside.

    >>> kinds({"sampler": {"name": "affine", "rotation": 5.0, "translation": 0.0}})
    {'rotation'}
    """
    law = law_of(settings)
    name = _built_in(law)
    if name in ("compose", "eight_bit"):
        parts = _laws(law) if name == "compose" else [law.get("law")]
        return {kind for one in parts for kind in kinds({"sampler": one})}
    if name == "corruption":
        kind = str(law.get("corruption"))
        return {kind} & _MOVES or {"blur"} & {kind.rpartition("_")[2]}
    held = {"affine": ("rotation", "translation"), "photometric": ("blur",)}
    return {kind for kind in held.get(name or "", ()) if _amount(law, kind)}


def _built_in(law: Any) -> str | None:
    """The name of a law of this package; None for the user's own, whatever its name is."""
    name = law.get("name") if isinstance(law, Mapping) and "function" not in law else ""
    known = isinstance(name, str) and (name in _UNIFORM or name in _WORDS)
    return str(name) if known else None


def _laws(law: Facts) -> list[Any]:
    inner = law.get("laws")
    return list(inner) if isinstance(inner, (list, tuple)) else []


def _inner(law: Any, said: Callable[[Facts], str]) -> str:
    return said({"sampler": law})


def _amount(law: Facts, key: str) -> float:
    value = law.get(key)
    return float(value) if isinstance(value, (int, float)) else 0.0


def _range(bounds: Any) -> str:
    flat = isinstance(bounds, (list, tuple)) and len(bounds) == 2
    if flat and all(isinstance(side, (int, float)) for side in bounds):
        return f"[{exact(bounds[0])}, {exact(bounds[1])}]"
    return "the range of its channel"


def _edge(law: Facts) -> str:
    verb = {"clamp": "clamped to", "truncate": "truncated to"}.get(
        str(law.get("boundary"))
    )
    if verb is None or law.get("bounds") is None:
        return ""
    return f", {verb} {_range(law['bounds'])}"


def _gaussian(law: Facts) -> str:
    sigma = exact(law.get("sigma"))
    if sigma == NOT_KNOWN:
        return ""
    return f"Gaussian noise, standard deviation {sigma}{_edge(law)}"


def _affine(law: Facts) -> str:
    rotation, shift, scale = (
        _amount(law, key) for key in ("rotation", "translation", "scale")
    )
    parts = [
        f"rotation up to {exact(rotation)}°" if rotation else "",
        f"translation up to {exact_rate(shift)}" if shift else "",
        f"scale {exact(1 - scale)} to {exact(1 + scale)}" if scale else "",
    ]
    return ", ".join(filter(None, parts))


def _photometric(law: Facts) -> str:
    light, contrast, blur = (
        _amount(law, key) for key in ("brightness", "contrast", "blur")
    )
    low, high = exact(1 - contrast), exact(1 + contrast)
    parts = [
        f"brightness changed by up to {exact(light)}" if light else "",
        f"contrast {low} to {high} times" if contrast else "",
        f"Gaussian blur of up to {exact(blur)} pixels" if blur else "",
    ]
    return ", ".join(filter(None, parts))


def _compose(law: Facts) -> str:
    return ", then ".join(_inner(one, law_text) for one in _laws(law))


def _eight_bit(law: Facts) -> str:
    if law.get("law") is None:
        return ""
    return f"{_inner(law['law'], law_text)}, rounded to 8 bits"


def _corruption(law: Facts) -> str:
    kind = one_line(law.get("corruption", ""), 40).replace("_", " ")
    return f"{kind} of severity {one_line(law.get('severity'), 5)}" if kind else ""


_WORDS: dict[str, Callable[[Facts], str]] = {
    "gaussian": _gaussian,
    "affine": _affine,
    "photometric": _photometric,
    "compose": _compose,
    "eight_bit": _eight_bit,
    "corruption": _corruption,
}
