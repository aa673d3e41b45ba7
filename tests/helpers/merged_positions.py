"""Networks in which one number of an operator counts channels and positions together."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class GroupedByHand(nn.Module):
    """A norm over groups of channels that is written out: whole groups go."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Conv2d(3, 32, 3, padding=1), nn.Conv2d(32, 24, 3), nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        n, c, h, w = x.shape
        x = x.reshape(n, 4, c // 4 * h * w)
        x = (x - x.mean(2, keepdim=True)) * (x.var(2, keepdim=True) + 1e-5).rsqrt()
        return self.head(self.second(x.reshape(n, c, h, w).relu()).relu().mean((2, 3)))


class NormedAsOne(nn.Module):
    """All of a map is centred at once."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Conv2d(3, 16, 3, 2), nn.Conv2d(16, 24, 1), nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).relu()
        n, c, h, w = x.shape
        flat = x.view(n, c * h * w)
        return self.head(self.second((flat - flat.mean(1, keepdim=True)).view(n, c, h, w)).relu().mean((2, 3)))


class SideBySide(nn.Module):
    """Maps of two resolutions lie flat beside each other, and are taken apart by numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.fine, self.coarse = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(3, 24, 3, 2, 1)
        self.first, self.second, self.head = nn.Conv2d(16, 12, 1), nn.Conv2d(24, 12, 1), nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.fine(x), self.coarse(x)
        both = torch.cat([a.flatten(1), b.flatten(1)], 1).relu()
        end = a[0].numel()
        a, b = self.first(both[:, :end].reshape(a.shape)), self.second(both[:, end:].reshape(b.shape))
        return self.head(torch.cat([a.mean((2, 3)), b.mean((2, 3))], 1))


MERGED: dict[str, Callable[[], nn.Module]] = {
    "grouped by hand": GroupedByHand,
    "normed as one": NormedAsOne,
    "side by side": SideBySide,
}
"""Name -> how it is made. Inputs are [N, 3, 16, 16], outputs [N, 5]."""
