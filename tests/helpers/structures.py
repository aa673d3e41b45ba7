"""Networks of odd structure, each with the groups that a walk must find in it."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Shuffled(nn.Module):
    """Halves of the channels take different ways, and are then mixed by numbers in the code."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.branch = nn.Sequential(nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.last, self.head = nn.Conv2d(16, 32, 1), nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.stem(x).chunk(2, 1)
        x = torch.cat([left, self.branch(right)], 1)
        n, _, h, w = x.shape
        x = x.view(n, 2, 8, h, w).transpose(1, 2).reshape(n, 16, h, w)
        return self.head(self.last(x).relu().mean((2, 3)))


class Gated(nn.Module):
    """A gated linear unit halves the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 16, 3), nn.Conv2d(8, 24, 3), nn.Conv2d(24, 8, 1)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.glu(self.a(x), dim=1)
        return self.head(self.c(self.b(x).relu()).relu().mean((2, 3)))


class Viewed(nn.Module):
    """Widths stand as numbers in the code."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 12, 3, padding=1, stride=2)
        self.one, self.two = nn.Linear(12 * 4 * 4, 16), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.b(self.a(x).relu()).relu()
        return self.two(self.one(x.view(-1, 12 * 4 * 4)).relu())


class Padded(nn.Module):
    """A shortcut is padded with channels of zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 16, 3, padding=1), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x).relu()
        x = self.b(x) + F.pad(x, (0, 0, 0, 0, 4, 4))
        return self.head(x.relu().mean((2, 3)))


class Scaled(nn.Module):
    """Channels are weighed by what is learned, by what is computed of them, and by a map over positions."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.squeeze, self.excite = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 4, 1), nn.Conv2d(4, 16, 1)
        self.place, self.gamma, self.norm = nn.Conv2d(16, 1, 1), nn.Parameter(torch.rand(16, 1, 1)), nn.GroupNorm(4, 16)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.a(x)) * self.gamma
        x = x * self.excite(self.squeeze(x.mean((2, 3), keepdim=True)).relu()).sigmoid()
        return self.head((x * self.place(x).sigmoid()).mean((2, 3)))


class Attending(nn.Module):
    """Patches, a class token, places, and attention that is written by hand with one joint projection."""

    def __init__(self, width: int = 24, heads: int = 4) -> None:
        super().__init__()
        self.width, self.heads = width, heads
        self.patches = nn.Conv2d(3, width, 2, stride=2)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.places = nn.Parameter(torch.randn(1, 17, width))
        self.norm, self.qkv, self.out = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down, self.head = nn.Linear(width, 40), nn.Linear(40, width), nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.places
        n, t, c = x.shape
        each = self.width // self.heads
        q, k, v = self.qkv(self.norm(x)).reshape(n, t, 3, self.heads, each).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1) / each**0.5).softmax(-1)
        x = x + self.out((weights @ v).transpose(1, 2).reshape(n, t, c))
        return self.head((x + self.down(F.gelu(self.up(x))))[:, 0])


class Twice(nn.Module):
    """One layer runs twice, and one weight belongs to two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.again, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.b.weight = self.again.weight
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.again(self.again(self.a(x)).relu()).relu()
        return self.head(self.b(x).mean((2, 3)))


STRUCTURES: dict[str, tuple[Callable[[], nn.Module], set[tuple[int, int]]]] = {
    "shuffled": (Shuffled, {(8, 1), (32, 1)}),
    "gated": (Gated, {(8, 1), (24, 1)}),
    "viewed": (Viewed, {(8, 1), (12, 1), (16, 1)}),
    "padded": (Padded, {(8, 1)}),  # those that the shortcut has, and those that it lacks
    "scaled": (Scaled, {(16, 4), (4, 1)}),
    "attending": (Attending, {(24, 1), (4, 1), (40, 1)}),
    "twice": (Twice, {(8, 1)}),
}
"""Name -> how it is made, and (channels, blocks) of its groups. Inputs are [N, 3, 8, 8], outputs [N, 5]."""
