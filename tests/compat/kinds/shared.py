"""How do models look that are trained on many devices? Each in one process, on the CPU."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from .case import Case, digits_net, kind, on_digits


def one_process() -> None:
    """A group of one, by gloo; kept until the process ends, as trainers keep theirs."""
    if not dist.is_initialized():
        place = Path(tempfile.mkdtemp()) / "store"
        dist.init_process_group(
            "gloo", init_method=place.as_uri(), rank=0, world_size=1
        )


@kind("DataParallel")
def data_parallel() -> Case:
    """On a machine without a GPU it hands the batch on."""
    return on_digits(nn.DataParallel(digits_net()))


@kind("DistributedDataParallel, one process")
def distributed() -> Case:
    """Hooks on the parameters wait for gradients."""
    one_process()
    return on_digits(nn.parallel.DistributedDataParallel(digits_net()))


@kind("FSDP2 (fully_shard), one process")
def fsdp2() -> Case:
    """DTensor parameters, gathered by hooks."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    one_process()
    net = digits_net()
    mesh = init_device_mesh("cpu", (1,))
    for layer in net:
        if list(layer.parameters()):
            fully_shard(layer, mesh=mesh)
    model: Any = fully_shard(net, mesh=mesh)
    return on_digits(model)


@kind("FSDP version 1, one process")
def fsdp1() -> Case:
    """A gradient of the images breaks it: refused before it is touched; scores are right."""
    from torch.distributed.fsdp import FullyShardedDataParallel

    one_process()
    model = FullyShardedDataParallel(
        digits_net(), device_id=torch.device("cpu"), use_orig_params=True
    )
    words = "FSDP version 1"
    return on_digits(model, refused={"FIMScore": words, "MSA": words})
