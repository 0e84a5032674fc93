#!/usr/bin/env bash
# deel-torchlip: which weight does a 1-Lipschitz layer use in eval mode after its parameter was changed?
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "torch==2.14.1" "numpy==2.4.6" "deel-torchlip==1.0.5"
cat >"$folder/check.py" <<'PY'
"""A parametrised layer might be expected to follow its parameter; some keep what they made last."""

import sys
from importlib.metadata import version

import torch
from deel import torchlip
from torch import nn

torch.manual_seed(0)
images = torch.rand(8, 12)


def follows(layer):
    """Whether, in eval mode, the answer changes when the parameter that is trained is replaced."""
    layer.train()
    layer(images)
    layer.eval()
    before = layer(images)
    with torch.no_grad():
        trained = layer.parametrizations.weight
        trained = getattr(trained, "original", None)
        trained = layer.parametrizations.weight.original0 if trained is None else trained
        trained.copy_(trained.flip(0))
    return not torch.equal(layer(images), before)


found = {
    "torch.nn.utils.parametrizations.orthogonal": follows(
        nn.utils.parametrizations.orthogonal(nn.Linear(12, 12))
    ),
    "deel.torchlip.SpectralLinear": follows(torchlip.SpectralLinear(12, 12)),
}
print("torch", torch.__version__, "deel-torchlip", version("deel-torchlip"))
print("one would guess: after load or an edit of the parameter, eval mode uses the new weight")
print(f"seen (the answer in eval mode follows the parameter): {found}")
print("a training-mode forward is what refreshes it: certify only after one, or compare the weights")
sys.exit(0 if list(found.values()) == [True, False] else 1)
PY
"$folder/venv/bin/python" "$folder/check.py"
