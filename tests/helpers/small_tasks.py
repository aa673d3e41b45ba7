"""Splits that a network of two linear layers answers right, for tests of what a task is tried for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset


def inputs(seed: int, count: int = 150) -> Tensor:
    return torch.randn(count, 6, generator=torch.Generator().manual_seed(seed))


def right(x: Tensor) -> Tensor:
    return x[:, :4].argmax(1)


def splits(labels: Callable[[Tensor], Tensor] = right) -> dict[str, TensorDataset]:
    names = ("train", "validation", "test")
    return {name: TensorDataset(inputs(i), labels(inputs(i))) for i, name in enumerate(names)}


class Knows(nn.Module):
    """Answers right, by weights that can be taught."""

    def __init__(self, outputs: int = 4) -> None:
        super().__init__()
        self.inner, self.head = nn.Linear(6, 6), nn.Linear(6, outputs)
        with torch.no_grad():
            for layer in (self.inner, self.head):
                layer.weight.copy_(torch.eye(*layer.weight.shape))
                layer.bias.zero_()

    def forward(self, x: Tensor) -> Any:
        return self.head(self.inner(x))
