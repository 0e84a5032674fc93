#!/usr/bin/env bash
# huggingface_hub: do two results on the same data with other dataset_args stay apart in a model card?
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "huggingface-hub==2.4.0"
cat >"$folder/check.py" <<'PY'
"""EvalResults that differ in dataset_args alone are written as one data set, that of the first."""

import sys
from importlib.metadata import version

from huggingface_hub import EvalResult, ModelCard, ModelCardData


def result(value, **args):
    return EvalResult(
        task_type="image-classification",
        dataset_type="cifar10",
        dataset_name="CIFAR-10",
        dataset_args=args,
        metric_type="accuracy",
        metric_value=value,
    )


clean, attacked = result(0.95, attack="none"), result(0.1, attack="PGD", eps=0.03)
data = ModelCardData(model_name="net", eval_results=[clean, attacked])
back = ModelCard(f"---\n{data.to_yaml()}\n---\n").data.eval_results
seen = [(one.metric_value, one.dataset_args) for one in back]
print("huggingface_hub", version("huggingface-hub"))
print("one would guess: 0.95 without an attack, 0.1 under PGD at eps 0.03, as they were given")
print(f"seen: {seen}")
sys.exit(0 if seen[1] == (0.1, {"attack": "none"}) else 1)
PY
"$folder/venv/bin/python" "$folder/check.py"
