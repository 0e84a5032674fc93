"""What of a card that is there is the user's, and stays? All but our numbers and our section."""

from __future__ import annotations

from typing import Any

from ...errors import InputError
from ..markdown import escape
from ..words import one_line
from .body import BEGIN, END

OURS = "torchattacks_ext"
TASK = "image-classification"
TAGS = ("adversarial-robustness", OURS)
_EMPTY = "---\n{}\n---\n"


def opened(hub: Any, old: str | None, name: str) -> Any:
    """The card to write into: a new one with a title, or the old one.

    Raises InputError where the old one cannot be read, or would lose results of others.
    """
    if old is None:
        return hub.ModelCard(f"{_EMPTY}\n# {escape(name)}\n")
    card = _parsed(hub, old)
    _refuse_losses(card, _whole(old))
    return card


def inserted(text: str, body: str) -> str:
    """The text with the section in the place of the old one, or at the end; its own line ends.

    >>> inserted("mine", "new"), inserted(f"a{BEGIN}old{END}z", "new")
    ('mine\\n\\nnew\\n', 'anewz')
    """
    start, stop = text.find(BEGIN), text.find(END)
    if (start < 0) != (stop < 0) or stop < start or text.count(BEGIN) > 1:
        raise InputError(
            f"the card that is there does not have {BEGIN} and {END} once each, in this order; "
            "mend them, or take both out"
        )
    line = "\r\n" if "\r\n" in text else "\n"
    body = body.replace("\n", line)
    if start < 0:
        return f"{text.rstrip()}{line}{line}{body}{line}"
    return text[:start] + body + text[stop + len(END) :]


def only_ours(hub: Any, old: str) -> bool:
    """Whether a card has nothing but what this package wrote."""
    try:
        card = _parsed(hub, old)
    except InputError:
        return False
    facts = card.data.to_dict()
    start, stop = card.text.find(BEGIN), card.text.find(END)
    if (
        start < 0
        or stop < start
        or set(facts) - {"pipeline_tag", "tags", "model-index"}
    ):
        return False
    if {*tags_of(facts.get("tags"))} - {*TAGS} or facts.get("pipeline_tag") != TASK:
        return False
    if not all(map(is_ours, card.data.eval_results or [])):
        return False
    around = (card.text[:start] + card.text[stop + len(END) :]).strip()
    return not around or (around.startswith("# ") and len(around.splitlines()) == 1)


def is_ours(one: Any) -> bool:
    """Whether an EvalResult was written by this package."""
    return str((one.metric_args or {}).get("by", "")).startswith(f"{OURS} ")


def tags_of(value: Any) -> list[str]:
    """Tags as a list.

    >>> tags_of("one"), tags_of(None)
    (['one'], [])
    """
    return [value] if isinstance(value, str) else [str(tag) for tag in value or []]


def _whole(old: str) -> str:
    """The card with metadata, where it has none."""
    return old if old.lstrip().startswith("---") else _EMPTY + old


def _parsed(hub: Any, old: str) -> Any:
    try:
        return hub.ModelCard(_whole(old))
    except Exception as error:  # yaml's and the hub's own
        raise InputError(
            f"the card that is there cannot be read: {one_line(error, 200)}; mend its metadata, "
            "or replace it with --force (force=True)"
        ) from error


def _refuse_losses(card: Any, whole: str) -> None:
    """Raises InputError where the hub's classes would not write back the results that are there."""
    import yaml

    head = whole[: len(whole) - len(card.text)].strip()
    head = head.removeprefix("---").removesuffix("---")
    raw = yaml.safe_load(head) or {}
    for key, text in (yaml.load(head, yaml.BaseLoader) or {}).items():  # texts alone
        odd = _misread(text, raw.get(key))
        if odd:
            raise InputError(
                f"the card that is there says {key}: {odd}, which YAML takes for a truth value and "
                "huggingface_hub would write as one; put it in quotes"
            )
    there = _known(raw.get("model-index") or [])
    if there != _known(card.data.to_dict().get("model-index") or []):
        raise InputError(
            "the card that is there has a model-index that huggingface_hub cannot write back as it "
            "is (results of several models, keys of its own, or data sets that differ in their "
            "args alone); mend it, or replace the card with --force (force=True)"
        )


def _misread(text: Any, value: Any) -> str:
    """A word such as `no`, a language, that YAML 1.1 reads as a truth value; "" for none.

    >>> _misread(["en", "no"], ["en", False]), _misread("true", True)
    ('no', '')
    """
    if isinstance(text, list) and isinstance(value, list):
        return next(filter(None, map(_misread, text, value)), "")
    odd = isinstance(value, bool) and str(text).lower() not in ("true", "false")
    return str(text) if odd else ""


def _known(value: Any) -> Any:
    """Without what is null, which the hub's classes leave out."""
    if isinstance(value, dict):
        return {k: _known(v) for k, v in value.items() if v is not None}
    return [_known(one) for one in value] if isinstance(value, list) else value
