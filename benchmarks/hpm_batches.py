"""What becomes of the accuracy of HPM in other batches? Sizes, single classes, copies; unattacked.

The nets of hpm_sensitivity.py, nothing trained on top; prototypes of the batch alone (share 0), and
mixed with those of the training images by halves.

Run: python benchmarks/hpm_batches.py [--n 1000] [--device cuda]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import record
import torch
from hpm_sensitivity import nets

from torchattacks_ext.defenses import HPMModel, HPMSettings, batch_report
from torchattacks_ext.results.base.facts import versions

SIZES = (1, 2, 10, 100, 400)
SHARES = (0.0, 0.5)


def main() -> None:
    """Measure every net and write the record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--device", default="cpu")
    out = record.RESULTS / "hpm_batches.json"
    parser.add_argument("--out", type=Path, default=out)
    args = parser.parse_args()
    cases = []
    for name, net, train, test, _ in nets(args.n):
        images, labels = (side.to(args.device) for side in test)
        for share in SHARES:
            settings = HPMSettings(mixer="convex", share=share)
            hpm = HPMModel.from_classifier(net, settings, images=test[0][:2])
            hpm.to(args.device).eval()
            parts = (torch.split(side, 500) for side in train)
            hpm.fit_prototypes(zip(*parts))
            found = batch_report(hpm, images, labels, SIZES)
            print(name, share, found, flush=True)
            cases.append({"net": name, "share": share, "report": found.to_dict()})
    device = "cpu"
    if args.device != "cpu":
        device = torch.cuda.get_device_name(args.device)
    record.write(
        args.out,
        {
            "question": "accuracy of HPM against the batch",
            "machine": record.machine() | {"device": device},
            "versions": versions(),
            "cases": cases,
        },
    )


if __name__ == "__main__":
    main()
