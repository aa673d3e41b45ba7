"""A task for conformance suites: 8 x 8 digits and a small network with random weights. It needs no training."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import TensorDataset

from ..studies.task import Task


def small_task() -> Task:
    """Return the task; the same one in every process."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = torch.from_numpy(bunch.images).float().div(16).unsqueeze(1)
    labels = torch.from_numpy(bunch.target).long()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(32, 10),
        ).eval()
    train, validation, test = (
        TensorDataset(images[start:end], labels[start:end]) for start, end in ((0, 300), (300, 400), (400, 500))
    )
    return Task(network, train, validation, test, name="small")
