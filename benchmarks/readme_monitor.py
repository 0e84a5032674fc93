"""What does the record of `monitor` say as tables? False alarms, shifts, streams, seconds."""

from __future__ import annotations

from typing import Any

from markdown_table import origin, table

TESTS = ("MMD of features", "KS of the score", "KS by feature", "family")
CLEAN = {
    "splits": "fresh splits of MNIST's test images",
    "fixed": "one reference, drawn once",
    "first": "one reference, the first 1,000 of the file",
}


def monitor(data: dict[str, Any]) -> str:
    """Alarms of batches, delays of streams, seconds of a check."""
    cells = data["cells"]
    shifts = {k.split()[1]: c for k, c in cells.items() if k.split()[0] == "shift"}
    rows = [
        [words, f"`{cells[key]['model']}`", *_alarms(cells[key], "0.05")]
        for key, words in CLEAN.items()
        if key in cells
    ]
    for name, cell in shifts.items():
        rows.append(["lossless CIFAR-10", f"`{name}`", *_alarms(cell["clean"], "0.05")])
        jpeg = [f"`{name}`", *_alarms(cell["jpeg"], "0.05")]
        rows.append(["**JPEG copies of others**", *jpeg])
        jpeg = [f"`{name}`", *_alarms(cell["jpeg"], "0.01")]
        rows.append(["JPEG copies, at .01", *jpeg])
    head = ["batches of 200", "model", "draws", *TESTS[:3], "alarm (Holm)", "99.9 %"]
    speed = cells["speed"]
    words = (
        "Alarms at .05 (each test by itself, and of all three as the command decides); 99.9 %: the "
        "quantile of that many clean draws. MMD with 1,000 permutations and KS of the score take "
        f"{speed['mmd_and_score']['least']:.2f} s, KS by feature "
        f"{speed['by_feature']['least']:.2f} s more (1,000 and 200 rows, 512 features, one thread; "
        f"minima of {speed['alternations']})."
    )
    parts = [table(head, rows) + "\n" + words + "\n"]
    parts += filter(None, (_streams(cells), _replays(cells)))
    return "\n".join([*parts, origin(data)])


def _alarms(cell: dict[str, Any], level: str) -> list[str]:
    counts = cell[level]
    return [
        str(cell["n"]),
        *(str(counts[name]) for name in TESTS),
        str(counts["most"]),
    ]


def _streams(cells: dict[str, Any]) -> str:
    """200 looks through files."""
    rows = []
    for key, cell in cells.items():
        if not key.startswith("stream") or key.endswith("replays"):
            continue
        delay = "none"
        if cell["alarm"] is not None:
            delay = f"{cell['delay_looks']} looks, {cell['delay_images']} images"
        kilobytes = list(cell["kilobytes_of_state"].values())
        rows.append(
            [
                f"`{key.split()[1]}`",
                f"{cell['clean_looks']} of {cell['looks']}",
                str(cell["images_a_look"]),
                delay,
                f"{cell['median_seconds_a_look']:.2f}",
                " / ".join(map(str, kilobytes)),
            ]
        )
    if not rows:
        return ""
    head = ["stream, end to end", "clean looks", "images a look", "delay to the alarm"]
    return table([*head, "seconds a look", "kB of state at look 10 / 100 / 200"], rows)


def _replays(cells: dict[str, Any]) -> str:
    """The process alone in other orders."""
    rows = []
    for key, cell in cells.items():
        if not key.endswith("replays"):
            continue
        for process in ("martingale", "bands"):
            one = cell[process]
            delays = [one["delay_median"], one["delay_90"]]
            rows.append(
                [
                    f"`{key.split()[1]}`",
                    process,
                    f"{cell['clean_images']:,}",
                    f"{one['false_alarms']} (at most {one['most']})",
                    *("never" if d is None else f"{d:,.0f}" for d in delays),
                    str(one["missed"]),
                ]
            )
    if not rows:
        return ""
    head = ["100 orders", "process", "clean images", "false alarms", "median delay"]
    return table([*head, "90 % of delays", "missed"], rows)
