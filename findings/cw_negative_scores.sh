#!/usr/bin/env bash
# torchattacks.CW: does it matter whether the same model writes its scores above or below zero?
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "torch==2.14.1" "torchvision==0.29.1" "torchattacks==3.5.1" \
    "numpy==2.4.6"
cat >"$folder/check.py" <<'PY'
"""A constant added to all scores of a row changes no probability, no margin and no answer."""

import sys
from importlib.metadata import version

import torch
import torchattacks

torch.manual_seed(0)
images = 0.1 + 0.8 * torch.rand(200, 1, 8, 8)
net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)).eval()
best = net(images).topk(2).values
images = images[best[:, 0] - best[:, 1] > 0.1][:50]  # no near ties, which rounding decides


class Moved(torch.nn.Module):
    """The scores of `net`, all moved by the same number."""

    def __init__(self, by):
        super().__init__()
        self.net, self.by = net, by

    def forward(self, x):
        return self.net(x) + self.by


labels = net(images).argmax(1)
found = {}
for by in (0.0, 20.0, -20.0):
    model = Moved(by).eval()
    attack = torchattacks.CW(model, c=1, kappa=0, steps=100, lr=0.02)
    found[by] = int((model(attack(images, labels)).argmax(1) != labels).sum())
print("torch", torch.__version__, "torchattacks", version("torchattacks"))
print("one would guess: an attack on differences of scores breaks the same of 50 rows each time")
print(f"seen (rows broken, by what was added to all scores): {found}")
print("classes are masked by multiplying with zero: below zero the masked ones are the largest")
sys.exit(0 if found[20.0] > 40 and found[-20.0] == 0 else 1)
PY
"$folder/venv/bin/python" "$folder/check.py"
