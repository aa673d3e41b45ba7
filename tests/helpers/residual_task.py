"""A task for tests: 8x8 digits and a residual network of three blocks that learns them in seconds."""

from __future__ import annotations

import torch
from tiny_task import splits
from torch import Tensor, nn

from autocompress import Task


class Block(nn.Module):
    """Two convolutions, and a shortcut past them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.one, self.two = (nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in range(2))
        self.norm1, self.norm2, self.act = nn.BatchNorm2d(width), nn.BatchNorm2d(width), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(x + self.norm2(self.two(self.act(self.norm1(self.one(x))))))


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        *(Block(16) for _ in range(3)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 10),
    )


def task() -> Task:
    train, validation, test = splits()
    images, labels = train.tensors
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = network()
        optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
        for _ in range(6):
            for rows in torch.randperm(len(labels)).split(64):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(images[rows]), labels[rows]).backward()
                optimizer.step()
    return Task(model.eval(), train, validation, test, name="residual")
