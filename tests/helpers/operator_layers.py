"""Networks whose layers stand in the code as operators, or as modules that no call treats as such."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Functions(nn.Module):
    """No layer is a module: all weights are parameters that functions take."""

    def __init__(self) -> None:
        super().__init__()
        self.w1, self.b1 = nn.Parameter(torch.randn(16, 3, 3, 3)), nn.Parameter(torch.randn(16))
        self.w2, self.w3 = nn.Parameter(torch.randn(24, 16, 3, 3)), nn.Parameter(torch.randn(5, 24))

    def forward(self, x: Tensor) -> Tensor:
        x = F.conv2d(x, self.w1, self.b1, padding=1).relu()
        return F.linear(F.conv2d(x, self.w2, stride=2).relu().mean((2, 3)), self.w3)


class GivenSize(nn.Module):
    """A transposed convolution is told how large its outputs are, once as it would make them and once larger."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 16, 3, 2, 1), nn.Conv2d(16, 24, 3, 2, 1)
        self.up, self.again = nn.ConvTranspose2d(24, 20, 3, 2, 1), nn.ConvTranspose2d(20, 12, 2, 2)
        self.head = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        once = self.first(x).relu()
        found = self.up(self.second(once).relu(), output_size=once.shape[-2:]).relu()
        return self.head(self.again(found, output_size=x.shape[-2:]).relu().mean((2, 3)))


class Twice(nn.Module):
    """A bilinear layer reads one value twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.both, self.head = nn.Conv2d(3, 16, 3), nn.Bilinear(16, 16, 12), nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).relu().mean((2, 3))
        return self.head(self.both(x, x).relu())


class WithoutWeights(nn.Module):
    """Norms by layers have no weights of their own, as in DiT and OLMo."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.norm = nn.Conv2d(3, 24, 4, 4), nn.LayerNorm(24, elementwise_affine=False)
        self.up, self.down = nn.Linear(24, 48), nn.Linear(48, 24)
        self.root, self.head = nn.RMSNorm(24, elementwise_affine=False), nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = x + self.down(F.gelu(self.up(self.norm(x))))
        return self.head(self.root(x).mean(1))


class Turned(nn.Module):
    """A linear layer whose weight lies as [in, out], as in GPT-2."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(inputs, outputs) * 0.1), nn.Parameter(torch.randn(outputs))

    def forward(self, x: Tensor) -> Tensor:
        found = torch.addmm(self.bias, x.reshape(-1, x.shape[-1]), self.weight)
        return found.view(*x.shape[:-1], len(self.bias))


class Multiplied(nn.Module):
    """Two residual blocks whose layers are products of matrices."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.norm = nn.Conv2d(3, 24, 4, 4), nn.LayerNorm(24)
        self.up, self.down = Turned(24, 48), Turned(48, 24)
        self.wide, self.back = nn.Parameter(torch.randn(24, 40) * 0.1), nn.Parameter(torch.randn(24, 40) * 0.1)
        self.head = nn.Parameter(torch.randn(24, 5))

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = x + self.down(F.gelu(self.up(self.norm(x))))
        x = x + F.gelu(x @ self.wide) @ self.back.T
        return F.linear(x.mean(1), self.head.t())


class Larger(nn.Module):
    """The larger of two halves counts, as in maxout networks; borders are padded with less than nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Conv2d(3, 32, 3, padding=1), nn.Conv2d(16, 24, 3), nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.first(x).chunk(2, 1)
        x = F.pad(torch.max(left, right), [-1, -2, -1, 2])
        return self.head(self.second(x).relu().mean((2, 3)))
