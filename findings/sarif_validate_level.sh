#!/usr/bin/env bash
# @microsoft/sarif-multitool: does `validate` find a level that SARIF does not know, and say so by its exit code?
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund "@microsoft/sarif-multitool@5.7.0" "@microsoft/sarif-multitool-linux@5.7.0" \
    >/dev/null 2>&1
chmod u+x node_modules/@microsoft/sarif-multitool-linux/Sarif.Multitool # its install script may be off
cat >check.py <<'PY'
"""Four files that the schema of SARIF 2.1.0 refuses: what the validator reports, and its exit code."""

import json
import subprocess
import sys

TOOL = ["node", "node_modules/@microsoft/sarif-multitool/bin.js", "validate"]


def log(level, **more):
    found = {"message": {"text": "a finding"}, "level": level}
    run = {"tool": {"driver": {"name": "tool"}}, "results": [found], **more}
    return json.dumps({"version": "2.1.0", "runs": [run]})


def validate(name, text):
    with open(f"{name}.sarif", "w") as file:
        file.write(text)
    done = subprocess.run(
        [*TOOL, f"{name}.sarif", "--output", f"{name}.json"], capture_output=True, text=True
    )
    with open(f"{name}.json") as file:
        run = json.load(file)["runs"][0]
    errors = [one["ruleId"] for one in run["results"] if one.get("level") == "error"]
    return done.returncode, errors


seen = {
    "an unknown key": validate("key", log("error", unknown=1)),
    "an unknown level": validate("level", log("bad")),
    "both": validate("both", log("bad", unknown=1)),
    "no JSON": validate("json", "{"),
}
print("@microsoft/sarif-multitool 5.7.0")
print("one would guess: an error for each of four files that are no SARIF, and an exit code above 0")
print(f"seen (exit code, errors): {seen}")
codes, errors = zip(*seen.values())
silent = [not one for one in errors]
sys.exit(0 if set(codes) == {0} and silent == [False, True, True, False] else 1)
PY
python3 check.py
