#!/usr/bin/env bash
# torchattacks.PGDL2(random_start=True): where do its restarts begin?
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "torch==2.14.1" "torchvision==0.29.1" "torchattacks==3.5.1" \
    "numpy==2.4.6"
cat >"$folder/check.py" <<'PY'
"""With steps=0 an attack returns its start, so that the start can be looked at from outside."""

import sys
from importlib.metadata import version

import torch
import torchattacks

torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 10)).eval()
images, labels = torch.full((2000, 3, 32, 32), 0.5), torch.zeros(2000, dtype=torch.long)
eps = 0.5  # a coordinate moves by about .01: nothing is clamped
attack = torchattacks.PGDL2(net, eps=eps, alpha=0.1, steps=0, random_start=True)
radius = (attack(images, labels) - images).flatten(1).norm(dim=1).double() / eps
deep, mean = float((radius < 0.5).double().mean()), float(radius.mean())
d = images[0].numel()
print("torch", torch.__version__, "torchattacks", version("torchattacks"))
print(
    f"one would guess (its source calls the start uniformly random): radius / eps has mean "
    f"{d / (d + 1):.4f} in {d} dimensions, and none of 2,000 starts lies below 1/2"
)
print(f"seen: mean {mean:.3f}, share below 1/2 {deep:.3f}: the radius itself is uniform on [0, eps]")
# 2,000 draws: six standard errors of a share of 1/2 and of a mean of 1/2
same = abs(deep - 0.5) < 6 * 0.5 / 2000**0.5 and abs(mean - 0.5) < 6 * 0.289 / 2000**0.5
sys.exit(0 if same and float(radius.max()) <= 1 + 1e-5 else 1)
PY
"$folder/venv/bin/python" "$folder/check.py"
