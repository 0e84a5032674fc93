"""How does a report become a model card of Hugging Face? Written by its classes, and read back.

What is written is read with huggingface_hub's own parser before it takes the place of a file: a
number or a condition that did not come back is an error, and the file stays as it was.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from ..._version import __version__
from ...errors import BackendError, InputError, MissingExtra
from ...results.base import codec
from ...results.evaluation import EvaluationReport
from ..words import one_line
from .body import section, weights_in
from .figures import Figure, figures
from .keeping import OURS, TAGS, TASK, inserted, is_ours, only_ours, opened, tags_of


def save_card(
    report: EvaluationReport,
    path: str | os.PathLike[str],
    *,
    update: bool = False,
    force: bool = False,
    **names: Any,
) -> None:
    """Write a model card in one step: all of it, read back and compared, or nothing.

    update: in a card that is there, replace this package's numbers and section alone (or append
    the section); other text, metadata and results stay, comments in the metadata excepted. force:
    replace the whole card. names: as of :func:`render_card`. Raises InputError where a card has
    other text, or is of other weights, and neither was asked for, and for one that is no card;
    BackendError where what was written does not read back as it was; MissingExtra.
    """
    target = Path(path)
    old = None if force else _read(target)
    if old is not None and not update and not only_ours(_hub(), old):
        raise InputError(
            f"{str(target)!r} has text that is not of this package; `card --update` (update=True) "
            "keeps it and renews the robustness section, --force (force=True) replaces it all"
        )
    if (
        old is not None
        and not update
        and weights_in(old) != weights_in(section(report, ()))
    ):
        raise InputError(
            f"{str(target)!r} is the card of other weights; its numbers would be those of this run "
            "under its name: give another path, --update (update=True) to renew it, or --force "
            "(force=True) to replace it"
        )
    text = render_card(report, old=old, **names)
    with codec.replacing(target) as part:
        part.write_bytes(text.encode("utf-8"))
        back = part.read_bytes().decode("utf-8")
        if back != text:
            raise BackendError(f"{str(target)!r} does not read back as it was written")


def render_card(
    report: EvaluationReport,
    *,
    old: str | None = None,
    name: str | None = None,
    dataset: str | None = None,
    split: str | None = None,
    confidence: float = 0.95,
) -> str:
    """The card as text: metadata with a model-index, and a section of Markdown.

    Attack, eps, norm and corruption are the `config` of the data set: the hub's classes group
    numbers by task, data set, config, split and revision alone, and would give an attacked accuracy
    to the data of the clean one. old: a card to keep the rest of. name: of the model. dataset,
    split: the data set's id and split on the hub. Raises as :func:`save_card`.
    """
    hub = _hub()
    found = figures(report, confidence)
    body = section(report, found, confidence)
    called = one_line(report.name if name is None else name, 96) or "unnamed model"
    card = opened(hub, old, called)
    data = card.data
    others = [one for one in data.eval_results or [] if not is_ours(one)]
    made = [
        hub.EvalResult(**fields)
        for fields in entries(report, found, confidence, dataset, split)
    ]
    data.model_name = name or data.model_name or called
    data.eval_results = [*others, *made] or None
    data.tags = [*dict.fromkeys([*tags_of(data.tags), *TAGS])]
    data["pipeline_tag"] = data.get("pipeline_tag") or TASK
    card.text = inserted(card.text, body)
    text = str(card)
    _compare(hub, text, card)
    return text


def entries(
    report: EvaluationReport,
    found: Sequence[Figure],
    confidence: float,
    dataset: str | None = None,
    split: str | None = None,
) -> list[dict[str, Any]]:
    """The arguments of one EvalResult a figure, in plain Python types."""
    label = one_line(report.data.get("name") or "", 96)
    data = {"images": report.data.get("n"), "sha256": report.data.get("sha256")}
    known = codec.plain({k: v for k, v in data.items() if v is not None})
    return [
        {
            "task_type": TASK,
            "dataset_type": dataset or _slug(label) or "unnamed",
            "dataset_name": label or dataset or "data without a name",
            "dataset_config": one.condition,
            "dataset_split": split,
            "dataset_args": known or None,
            "metric_type": one.metric,
            "metric_name": one.name,
            "metric_value": float(one.value),
            "metric_args": {
                "by": f"{OURS} {__version__}",
                "interval": [float(one.low), float(one.high)],
                "confidence": float(confidence),
                "images": int(one.n),
                **codec.plain(dict(one.facts)),
            },
        }
        for one in found
    ]


def _hub() -> Any:
    try:
        return import_module("huggingface_hub")
    except ImportError as error:
        raise MissingExtra(
            f"a model card needs huggingface_hub ({error}); pip install 'torchattacks_ext[card]'"
        ) from error


def _read(path: Path) -> str | None:
    """The card that is there, as it is; None where there is none."""
    try:
        if not path.exists():
            return None
        return path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{str(path)!r} cannot be read: {error}; give another path"
        ) from error


def _slug(name: str) -> str:
    """A name as an id.

    >>> _slug("CIFAR-10 test set")
    'cifar-10-test-set'
    """
    kept = "".join(c if c.isalnum() or c in "-_./" else "-" for c in name.lower())
    return "-".join(filter(None, kept.split("-")))


def _compare(hub: Any, text: str, card: Any) -> None:
    """Read a card back; BackendError for the first thing that is not as it was written."""
    back, wanted = hub.ModelCard(text), card.data.eval_results or []
    read = back.data.eval_results or []
    for one in wanted:
        if one not in read:
            raise BackendError(
                f"huggingface_hub {hub.__version__} does not give back the result "
                f"{one.dataset_config!r} ({one.metric_type}) as it was written; nothing was kept"
            )
    odd = ["model-index"] if len(read) != len(wanted) else []
    mine, theirs = vars(card.data), vars(back.data)
    odd += [
        key
        for key in mine
        if key not in ("eval_results", "model_name") and mine[key] != theirs.get(key)
    ]
    odd += ["name"] if wanted and back.data.model_name != card.data.model_name else []
    odd += ["text"] if back.text != card.text else []
    if odd:
        raise BackendError(
            f"huggingface_hub {hub.__version__} reads the card back with another "
            f"{', '.join(odd)}; nothing was kept"
        )
