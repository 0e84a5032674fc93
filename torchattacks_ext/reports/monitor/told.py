"""What is said of a reference, and of a look at new images? Lines, or a page of Markdown."""

from __future__ import annotations

import math

from ...results.monitor.alert import Alert
from ...results.monitor.reference import Reference
from ..runs.told import plain_list, plain_table
from ..words import cost_text, escape, number, one_line, percent, things

WORDS = {
    "fim": "sensitivity, log lambda of FIMScore",
    "max_softmax": "doubt, log(1 - p_max)",
    "energy": "energy of the logits",
    "max_logit": "minus the largest logit",
}
"""What a score is."""


def render_reference(found: Reference) -> str:
    """What was measured, of how many images, by which model.

    >>> import torch
    >>> parts = {"features": torch.rand(100, 3), "scores": torch.rand(100).double()}
    >>> found = Reference(**parts, ids=torch.arange(100), settings={"score": "fim"})
    >>> print(render_reference(found).splitlines()[0])
    Reference of 100 images: 3 features (n/a), score fim (sensitivity, log lambda of FIMScore)
    """
    settings, model = found.settings, found.model
    score = str(settings.get("score"))
    place = one_line(settings.get("place") or "n/a", 80)
    values = found.scores
    quarters = values.quantile(values.new_tensor([0.25, 0.5, 0.75])).tolist()
    prepared = settings.get("prepared") or {}
    lines = [
        f"Reference of {things(len(found), 'image')}: {found.features.shape[1]:,} features "
        f"({place}), score {score} ({WORDS.get(score, 'unknown')})",
        f"score: quartiles {', '.join(number(one) for one in quarters)}",
        f"model: {one_line(model.get('class'), 60)} {_hash(model)}",
    ]
    if prepared:
        said = ", ".join(f"{key} {value}" for key, value in prepared.items())
        lines.append(f"prepared: {one_line(said, 200)}")
    lines += [f"doubt: {one_line(flag.message)} [{flag.code}]" for flag in found.flags]
    if found.cost.forward:
        lines.append(f"cost: {cost_text(found.cost)}")
    return "\n".join(lines)


def render_alert(found: Alert, markdown: bool = False) -> str:
    """Alarm or none, what was tested, with which chance of a false alarm, and what to do.

    >>> facts = {"kind": "batch", "alarm": False, "significance": 0.01, "guarantee": ""}
    >>> found = Alert(**facts, n=9, n_reference=1)
    >>> print(render_alert(found).splitlines()[0])
    no alarm: 9 images against a reference of 1
    """
    head = f"{_verdict(found)}: {_what(found)}"
    lines = [f"# {head}" if markdown else head, ""]
    stream = found.kind == "stream"
    lines += (
        plain_list(_process(found), markdown) if stream else _tests(found, markdown)
    )
    lines += ["", *plain_list(_notes(found), markdown)]
    if found.runbook:
        lines += ["", "## What to do" if markdown else "What to do, in this order:"]
        lines += [
            f"{i}. {step.do} {step.tells} Costs: {step.costs}."
            for i, step in enumerate(found.runbook, 1)
        ]
    return "\n".join(lines).rstrip()


def _verdict(found: Alert) -> str:
    return f"ALARM ({found.severity})" if found.alarm else "no alarm"


def _what(found: Alert) -> str:
    images = things(found.n, "image")
    if found.process is None:
        return f"{images} against a reference of {found.n_reference:,}"
    process = found.process
    seen = things(int(process.get("n", 0)), "image")
    return (
        f"look {process.get('looks')} ({images}), {seen} so far, against a reference of "
        f"{found.n_reference:,}"
    )


def _tests(found: Alert, markdown: bool) -> list[str]:
    rows = [
        (
            test.name,
            number(test.statistic),
            number(test.p_value),
            number(test.adjusted),
            "ALARM" if test.alarm else "-",
        )
        for test in found.tests
    ]
    head = ("test", "statistic", "p", "p (Holm)", "alarm")
    lines = plain_table(head, rows, markdown)
    if found.moved:
        named = ", ".join(
            f"{one.feature} ({number(one.distance, 2)})" for one in found.moved
        )
        more = found.n_moved - len(found.moved)
        more_said = f", and {more:,} more" if more else ""
        said = f"features that moved (distance): {named}{more_said}"
        lines += ["", escape(said) if markdown else said]
    return lines


def _process(found: Alert) -> list[str]:
    state = found.process or {}
    name = one_line(state.get("name"), 40)
    if name == "bands":
        far = f"distance {number(state.get('distance'))}, alarm above {number(state.get('edge'))}"
    else:
        far = (
            f"log capital {number(state.get('log_capital'))}, at most "
            f"{number(state.get('most'))} so far, alarm from {number(state.get('edge'))} on"
        )
    lines = [f"{name}: {far}"]
    if state.get("alarm_at") is not None:
        lines.append(
            f"alarmed at image {state['alarm_at']:,}, look {state.get('alarm_look')}; an alarm "
            "of a stream stays"
        )
    return lines


def _notes(found: Alert) -> list[str]:
    score = str(found.reference.get("score", "score"))
    lines = []
    if not math.isnan(found.above):
        share = percent(round(found.above * 1000), 1000)
        which = "the last images" if found.kind == "stream" else "these images"
        lines.append(
            f"score {score}: {share} of {which} lie above the median of the reference; distance "
            f"{number(found.distance)}"
        )
    if not math.isnan(found.least):
        lines.append(
            f"with {things(found.n, 'image')} a distance of the score below about "
            f"{number(found.least, 2)} is not seen"
        )
    if found.guarantee:
        lines.append(f"false alarms: {found.guarantee}")
    lines += [f"doubt: {one_line(flag.message)} [{flag.code}]" for flag in found.flags]
    if found.cost.forward:
        lines.append(f"cost: {cost_text(found.cost)}")
    return lines


def _hash(model: object) -> str:
    get = getattr(model, "get", None)
    known = get("sha256") if callable(get) else None
    tag = get("tag") if callable(get) else None
    parts = [f"sha256 {known[:12]}"] if isinstance(known, str) else ["no hash"]
    return ", ".join(parts + ([f"tag {one_line(tag, 40)}"] if tag else []))
