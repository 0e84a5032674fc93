#!/usr/bin/env bash
# deel-torchlip: is a scaled average pool 1-Lipschitz when its last window hangs over the edge?
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "torch==2.14.1" "numpy==2.4.6" "deel-torchlip==1.0.5"
cat >"$folder/check.py" <<'PY'
"""ScaledAvgPool2d divides by fewer pixels in a window that is cut off, and keeps its factor."""

import sys
from importlib.metadata import version

import torch
from deel import torchlip

size = 8


def norm(layer):
    """Spectral norm of a linear map of one 8 x 8 image, from its dense matrix in float64."""
    layer = layer.double()
    basis = torch.eye(size * size, dtype=torch.float64).reshape(-1, 1, size, size)
    return float(torch.linalg.matrix_norm(layer(basis).flatten(1), 2))


found = {
    "kernel 3": round(norm(torchlip.ScaledAvgPool2d(3)), 6),
    "kernel 3, ceil_mode": round(norm(torchlip.ScaledAvgPool2d(3, ceil_mode=True)), 6),
}
print("torch", torch.__version__, "deel-torchlip", version("deel-torchlip"))
print("one would guess: a layer of a library of 1-Lipschitz layers has norm 1 at most")
print(f"seen (spectral norm on 8 x 8 images): {found}")
sys.exit(0 if found["kernel 3"] <= 1 + 1e-6 and found["kernel 3, ceil_mode"] > 1.2 else 1)
PY
"$folder/venv/bin/python" "$folder/check.py"
