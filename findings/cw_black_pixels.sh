#!/usr/bin/env bash
# torchattacks.CW: which pixels can it move, if an image has some that are quite black or white?
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "torch==2.14.1" "torchvision==0.29.1" "torchattacks==3.5.1" \
    "numpy==2.4.6"
cat >"$folder/check.py" <<'PY'
"""Most pixels of a picture of a digit are exactly 0; those of many photographs are exactly 1."""

import sys
from importlib.metadata import version

import torch
import torchattacks

torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2)).eval()
with torch.no_grad():
    net[1].bias += 10  # this attack wants scores above 0
images = torch.full((20, 1, 8, 8), 0.5)
images[..., :4] = 0.0  # the left half black
images[..., 4] = 1.0  # one column white
labels = net(images).argmax(1)
settings = {
    "CW": torchattacks.CW(net, c=10, steps=200, lr=0.1),
    "PGDL2": torchattacks.PGDL2(net, eps=3.0, alpha=0.5, steps=20, random_start=False),
}
parts = {"grey": images == 0.5, "black": images == 0, "white": images == 1}
found = {}
for name, attack in settings.items():
    moved = (attack(images, labels) - images).abs()
    found[name] = {part: float((moved[where] > 0).float().mean()) for part, where in parts.items()}
    found[name] = {part: round(share, 2) for part, share in found[name].items()}
print("torch", torch.__version__, "torchattacks", version("torchattacks"))
print("one would guess: an attack without a ball may move any pixel that the model looks at")
print(f"seen (share of pixels that moved): {found}")
print("its variable is the inverse tanh of a pixel: infinite at 0 and 1, where tanh has no slope")
same = found["CW"]["black"] == found["CW"]["white"] == 0 < found["CW"]["grey"]
sys.exit(0 if same and found["PGDL2"]["black"] > 0.1 and found["PGDL2"]["white"] > 0.1 else 1)
PY
"$folder/venv/bin/python" "$folder/check.py"
