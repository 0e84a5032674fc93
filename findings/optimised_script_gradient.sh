#!/usr/bin/env bash
# torch.jit.optimize_for_inference: does the optimised graph still give a gradient to its input?
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "torch==2.14.1" "numpy==2.4.6"
cat >"$folder/check.py" <<'PY'
"""A frozen script keeps the gradient to the input (attacks, saliency); the next step drops it."""

import sys
import warnings

import torch
from torch import nn

warnings.simplefilter("ignore")  # TorchScript is deprecated, and used all the same
torch.manual_seed(0)
net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(36, 3)).eval()
frozen = torch.jit.freeze(torch.jit.script(net))
models = {"frozen": frozen, "optimised": torch.jit.optimize_for_inference(torch.jit.script(net))}
found, scores = {}, {}
for name, model in models.items():
    images = torch.full((2, 1, 5, 5), 0.5, requires_grad=True)
    scores[name] = model(images)
    found[name] = scores[name].requires_grad
near = torch.allclose(scores["frozen"], scores["optimised"], atol=1e-5)
print("torch", torch.__version__)
print("one would guess: the same scores, and both carry a gradient or the second says that it cannot")
print(f"seen: same scores {near}; the scores carry a gradient: {found}; no error and no warning")
sys.exit(0 if near and found == {"frozen": True, "optimised": False} else 1)
PY
"$folder/venv/bin/python" "$folder/check.py"
