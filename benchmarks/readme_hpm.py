"""What does the record of HPM beside its static nets say, and does a gain stand?"""

from __future__ import annotations

from typing import Any

from markdown_table import device, table

STATIC, HPM = "static", "HPM"
VICTIMS = (STATIC, "C_glob only", HPM)
ABLATIONS = ("no C_glob", "no mixer", "neither", "inner product")
PROTOCOLS = ("iso", "union", "realised")
MISSING = "not run"


def hpm_table(data: dict[str, Any]) -> str:
    """Victims by attacks, what AutoAttack's packing hides, ablations; and the verdict in words."""
    parts = [
        _victims(data),
        "\nAttacks that pack rows anew as they fall, on HPM as it is, and what their images leave "
        "in deployed batches:\n\n",
        _packed(data),
        "\nAblations, version paper (in deployed batches):\n\n",
        _ablations(data),
        "\n",
        *(f"- {verdict(data, net)}\n" for net in data["nets"]),
        _run(data),
        device(data),
    ]
    return "".join(parts)


def _cell(data: dict[str, Any], net: str, victim: str, attack: str, seed: int) -> Any:
    return data["cells"].get(f"{net}/{victim}/{attack}/{seed}")


def _share(cell: Any, *names: str) -> str:
    """Percent with its interval, of the first of the names that the cell has."""
    if cell is None:
        return MISSING
    for name in names:
        if name in cell["right"]:
            pair = cell["right"][name]
            low, high = (100 * side for side in pair["interval"])
            return f"{_percent(pair)} [{low:.0f}, {high:.0f}]"
    return ""


def _percent(pair: dict[str, Any]) -> str:
    return f"{100 * pair['count'] / pair['n']:.0f}"


def _victims(data: dict[str, Any]) -> str:
    rows = []
    for net, facts in data["nets"].items():
        for victim in VICTIMS:
            for seed in range(facts["seeds"] if victim == HPM else 1):
                aa, paper, standard = (
                    _cell(data, net, victim, attack, seed)
                    for attack in ("autoattack", "paper", "standard")
                )
                one = [_share(aa, "robust"), _share(paper, "robust")]
                if victim == HPM:
                    last = [_share(standard, name) for name in PROTOCOLS]
                    last.append(_share(standard, "bystanders"))
                else:
                    last = [_share(standard, "robust"), *[""] * len(PROTOCOLS)]
                clean = _share(standard or aa or paper, "clean")
                rows.append([f"`{net}`", victim, str(seed), clean, *one, *last])
    head = [
        "net",
        "victim",
        "seed",
        "clean",
        "AutoAttack (reported)",
        "MSA paper (reported)",
    ]
    head += ["MSA standard, ISO", "UNION", "REALISED", "bystanders"]
    return table(head, rows)


def _packed(data: dict[str, Any]) -> str:
    rows = []
    for net, facts in data["nets"].items():
        for attack in ("autoattack", "paper"):
            for seed in range(facts["seeds"]):
                cell = _cell(data, net, HPM, attack, seed)
                pair = [_share(cell, "robust"), _share(cell, "deployed")]
                change = flag = "" if cell else MISSING
                if cell and "deployed" in cell["right"]:
                    own = (
                        cell["right"][name]["count"] for name in ("deployed", "robust")
                    )
                    change = f"{next(own) - next(own):+d}"
                if cell:
                    flag = "raised" if "not_as_deployed" in cell["flags"] else "no"
                rows.append([f"`{net}`", attack, str(seed), *pair, change, flag])
    head = ["net", "attack", "seed", "as it reports", "in deployed batches", "images"]
    return table([*head, "flag `not_as_deployed`"], rows)


def _ablations(data: dict[str, Any]) -> str:
    rows = []
    for net in data["nets"]:
        found = [_cell(data, net, victim, "paper", 0) for victim in (HPM, *ABLATIONS)]
        for words, names in (("clean", ("clean",)), ("left", ("deployed", "robust"))):
            rows.append([f"`{net}`", words, *(_share(cell, *names) for cell in found)])
    return table(["net", "", HPM, *ABLATIONS], rows)


def verdict(data: dict[str, Any], net: str) -> str:
    """Whether a gain of HPM stands on a net: intervals that do not meet, for every seed run."""
    base = _cell(data, net, STATIC, "autoattack", 0)
    seeds = data["nets"][net]["seeds"]
    found = [_cell(data, net, HPM, "standard", seed) for seed in range(seeds)]
    runs = [cell["right"] for cell in found if cell is not None]
    if base is None or not runs:
        return f"`{net}`: {MISSING}, so no gain is claimed."
    low, high = base["right"]["robust"]["interval"]
    words, gains = [], []
    for name in PROTOCOLS:
        pairs = [right[name]["interval"] for right in runs]
        said = "intervals meet"
        if min(pair[0] for pair in pairs) > high:
            said = "above it"
            gains.append(name.upper())
        elif max(pair[1] for pair in pairs) < low:
            said = "below it"
        counts = ", ".join(_percent(right[name]) for right in runs)
        words.append(f"{name.upper()} {counts} ({said})")
    stands = f"a gain stands under {', '.join(gains)}" if gains else "no gain stands"
    return (
        f"`{net}`: **{stands}**. AutoAttack leaves {_share(base, 'robust')} of the static net, MSA "
        f"standard of HPM {'; '.join(words)}. {len(runs)} of {seeds} seeds run."
    )


def _run(data: dict[str, Any]) -> str:
    cells = data["cells"].values()
    forward, backward = (sum(c[key] for c in cells) for key in ("forward", "backward"))
    hours = sum(c["cpu_seconds"] for c in cells) / 3600
    left = len(data["not_run"])
    tuned = ", ".join(
        f"`{name}` {net['eps']:.4g}, {net['n_train']:,} x {net['epochs']}"
        for name, net in data["nets"].items()
    )
    return (
        f"\n{data['n']} images a net, deployed batches of {data['deployed_batch']}; percent with "
        f"95 % intervals. Radius (Linf), and training images x epochs of fine-tuning: {tuned}. "
        f"{len(data['cells'])} cells run, {left} not; {forward:,} forward and {backward:,} "
        f"backward row-passes, {hours:.1f} CPU hours.\n"
    )
