"""Do data that stand in a plan become facts that a report can hold and compare?"""

from __future__ import annotations

import json

import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

from torchattacks_ext.data.described import described


def test_arrays_are_told_by_their_content() -> None:
    one, two = torch.zeros(2, 3), torch.zeros(2, 3)
    assert described(one) == described(two) != described(two + 1)
    assert described(one)["sha256"] == described(one.numpy())["sha256"]
    assert described(one.T)["shape"] == [3, 2]
    assert described((one, torch.arange(2)))[1]["shape"] == [2]


def test_loaders_by_class_and_length_and_names_as_they_are() -> None:
    data = TensorDataset(torch.zeros(5, 2))
    found = described({"a": data, "b": "npz:x.npz", "c": None})
    assert found["a"]["n"] == 5 and found["b"] == "npz:x.npz" and found["c"] is None
    assert described(DataLoader(data, batch_size=2))["n"] == 3
    assert "n" not in described(iter([1]))
    assert described([np.zeros(1)] * 20) == {"class": "builtins.list", "n": 20}
    json.dumps(found)
