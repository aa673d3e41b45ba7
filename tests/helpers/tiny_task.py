"""A task for tests: 8x8 digits and a network that learns them in about a second. Its weights are kept beside it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import TensorDataset

from autocompress import Task

WEIGHTS = Path(__file__).with_name("tiny.pt")


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    )


def splits() -> list[TensorDataset]:
    """Train, validation and test: 1100, 300 and 397 images."""
    # scikit-learn's digits, read without it: to import it takes each process a second more
    library = find_spec("sklearn")
    assert library is not None and library.origin is not None
    rows = np.loadtxt(Path(library.origin).parent / "datasets" / "data" / "digits.csv.gz", delimiter=",")
    images = torch.from_numpy(rows[:, :-1]).float().div(16).reshape(-1, 1, 8, 8)
    labels = torch.from_numpy(rows[:, -1]).long()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    return [TensorDataset(images[rows], labels[rows]) for rows in order.split([1100, 300, 397])]


def task() -> Task:
    train, validation, test = splits()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = network()
        if WEIGHTS.exists():
            model.load_state_dict(torch.load(WEIGHTS, weights_only=True))
        else:
            optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
            images, labels = train.tensors
            for _ in range(6):
                for rows in torch.randperm(len(labels)).split(64):
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(model(images[rows]), labels[rows]).backward()
                    optimizer.step()
            torch.save(model.state_dict(), WEIGHTS)
    return Task(model.eval(), train, validation, test, name="tiny")


def nan_task() -> Task:
    """The same with a metric that gives no number."""
    from dataclasses import replace

    def odd_metric(outputs: torch.Tensor, labels: torch.Tensor) -> float:
        return float("nan")

    return replace(task(), metric=odd_metric)


def wrong_labels_task() -> Task:
    """The same with a label that the network has no output for."""
    from dataclasses import replace

    _, validation, _ = splits()
    images, labels = validation.tensors
    return replace(task(), validation=TensorDataset(images, labels + (torch.arange(len(labels)) == 7) * 10))
