"""More networks of odd structure: functions with weights of their own, token mixers, attention in many spellings.

Each is a module, the shape of one of its inputs, and (channels, blocks) of the groups that a walk must find in it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from operator_layers import Functions, GivenSize, Larger, Multiplied, Twice, WithoutWeights
from torch import Tensor, nn

PIXELS = (3, 16, 16)


class Projected(nn.Module):
    """Products with bare weights, one of them an Einstein sum."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 32, 4, 4)
        self.up = nn.Parameter(torch.randn(32, 48) * 0.1)
        self.down = nn.Parameter(torch.randn(48, 24) * 0.1)
        self.head = nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.einsum("bchw,cd->bdhw", self.first(x), self.up).relu()
        return self.head((x.permute(0, 2, 3, 1) @ self.down).mean((1, 2)))


class Standardized(nn.Conv2d):
    """A convolution whose weight is standardized in each forward pass."""

    def forward(self, x: Tensor) -> Tensor:
        mean, deviation = (f(self.weight, dim=(1, 2, 3), keepdim=True) for f in (torch.mean, torch.std))
        weight = (self.weight - mean) / (deviation + 1e-5)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class Computed(nn.Module):
    """Weights follow from parameters: standardized, in groups, depthwise, and with a norm of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = Standardized(3, 16, 3, padding=1), nn.GroupNorm(4, 16)
        self.depthwise = Standardized(16, 16, 3, padding=1, groups=16)
        self.grouped, self.last = Standardized(16, 32, 3, padding=1, groups=4), Standardized(32, 24, 1)
        self.normed = nn.utils.parametrizations.weight_norm(nn.Conv2d(24, 20, 1))
        self.head = nn.Linear(20, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.depthwise(self.norm(self.first(x)).relu()).relu()
        return self.head(self.normed(self.last(self.grouped(x).relu()).relu()).relu().mean((2, 3)))


class Merged(nn.Module):
    """Branches are one convolution: their kernels are added in the forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.wide, self.narrow = nn.Conv2d(16, 16, 3, bias=False), nn.Conv2d(16, 16, 1, bias=False)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).relu()
        kernel = self.wide.weight + F.pad(self.narrow.weight, [1, 1, 1, 1])
        return self.head((F.conv2d(x, kernel, padding=1) + self.norm(x)).relu().mean((2, 3)))


class Recurrent(nn.Module):
    """A recurrent layer stays whole; what comes before and after it does not."""

    def __init__(self, cell: bool = False) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 24, 1)
        self.memory = nn.GRUCell(24, 20) if cell else nn.LSTM(24, 20, num_layers=2, batch_first=True)
        self.up, self.head = nn.Linear(20, 40), nn.Linear(40, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.first(x).relu()).mean(2).transpose(1, 2)
        state = x.new_zeros(x.shape[0], 20)
        if isinstance(self.memory, nn.GRUCell):
            for step in range(4):
                state = self.memory(x[:, step], state)
        else:
            state = self.memory(x, (torch.zeros(2, len(x), 20), torch.zeros(2, len(x), 20)))[0][:, -1]
        return self.head(self.up(state).relu())


class Mixer(nn.Module):
    """One pair of layers mixes tokens, another channels."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.norm = nn.Conv2d(3, 24, 4, 4), nn.LayerNorm(24)
        self.tokens_up, self.tokens_down = nn.Linear(16, 40), nn.Linear(40, 16)
        self.up, self.down, self.head = nn.Linear(24, 64), nn.Linear(64, 24), nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = x + self.tokens_down(F.gelu(self.tokens_up(self.norm(x).transpose(1, 2)))).transpose(1, 2)
        return self.head((x + self.down(F.gelu(self.up(x)))).mean(1))


class Cosine(nn.Module):
    """Attention over normalized queries, with a joint weight, a table of biases and a temperature for each head."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.joint = nn.Conv2d(3, 32, 4, 4), nn.Parameter(torch.randn(96, 32) * 0.1)
        self.of_queries, self.of_values = nn.Parameter(torch.zeros(32)), nn.Parameter(torch.zeros(32))
        self.table, self.scale = nn.Parameter(torch.randn(10, 4)), nn.Parameter(torch.zeros(4, 1, 1))
        self.register_buffer("places", torch.randint(0, 10, (16, 16)))
        self.out, self.head = nn.Linear(32, 32), nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        n, t, c = x.shape
        bias = torch.cat([self.of_queries, torch.zeros_like(self.of_values), self.of_values])
        q, k, v = F.linear(x, self.joint, bias).reshape(n, t, 3, 4, -1).permute(2, 0, 3, 1, 4).unbind(0)
        weights = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1) * self.scale.clamp(max=4.6).exp()
        weights = weights + self.table[self.places.view(-1)].view(t, t, -1).permute(2, 0, 1).unsqueeze(0)
        return self.head((x + self.out((weights.softmax(-1) @ v).transpose(1, 2).reshape(n, t, c))).mean(1))


class Spelled(nn.Module):
    """Attention as Einstein sums, after a linear one over positions and the fused operator."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.heads = nn.Conv2d(3, 32, 4, 4), 4
        self.linear_qkv, self.linear_out = nn.Conv2d(32, 96, 1), nn.Conv2d(32, 32, 1)
        self.qkv, self.out = nn.Linear(32, 96, bias=False), nn.Linear(32, 32)
        self.query, self.keys_values, self.fused_out = nn.Linear(32, 32), nn.Linear(32, 64), nn.Linear(32, 32)
        self.head = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x)
        n, c, h, w = x.shape
        q, k, v = self.linear_qkv(x).reshape(n, 4, 24, h * w).split(8, 2)
        context = torch.einsum("bhdn,bhen->bhde", k.softmax(3), v)
        x = x + self.linear_out(torch.einsum("bhde,bhdn->bhen", context, q.softmax(2)).reshape(n, c, h, w))
        x = x.flatten(2).transpose(1, 2)
        q, k, v = (part.view(n, h * w, 4, 8) for part in self.qkv(x).chunk(3, -1))
        weights = torch.einsum("bihd,bjhd->bhij", q, k).softmax(-1)
        x = x + self.out(torch.einsum("bhij,bjhd->bihd", weights, v).flatten(2))
        q = self.query(x).view(n, h * w, 4, 8).transpose(1, 2)
        k, v = self.keys_values(x).view(n, h * w, 2, 4, 8).permute(2, 0, 3, 1, 4)
        fused = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, h * w, c)
        return self.head((x + self.fused_out(fused)).mean(1))


class Chosen(nn.Module):
    """Branches are weighed against each other, as selective kernels are; one part is written in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.part = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.small, self.large = nn.Conv2d(16, 24, 3, padding=1), nn.Conv2d(16, 24, 5, padding=2)
        self.squeeze, self.weigh, self.head = nn.Linear(24, 8), nn.Linear(8, 48), nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).clone()
        x[:, :4] = self.part(x[:, :4])
        both = torch.stack([self.small(x), self.large(x)], 1)
        weights = self.weigh(self.squeeze(both.sum(1).mean((2, 3))).relu()).view(-1, 2, 24).softmax(1)
        return self.head((both * weights[..., None, None]).sum(1).mean((2, 3)))


class CrossStage(nn.Module):
    """A stage splits its channels, and gathers what each of its blocks wrote."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last, self.head = nn.Conv2d(3, 32, 3, padding=1), nn.Conv2d(64, 40, 1), nn.Linear(40, 5)
        self.blocks = nn.ModuleList([nn.Conv2d(16, 16, 3, padding=1) for _ in range(2)])

    def forward(self, x: Tensor) -> Tensor:
        parts = list(self.first(x).split((16, 16), 1))
        for block in self.blocks:
            parts.append(block(parts[-1]).relu())
        return self.head(self.last(torch.cat(parts, 1)).relu().mean((2, 3)))


class Spread(nn.Module):
    """Channels become positions and come back; groups take turns."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.turns = nn.Conv2d(3, 16, 3, padding=1), nn.ChannelShuffle(4)
        self.second, self.up = nn.Conv2d(16, 32, 3, padding=1, groups=4), nn.PixelShuffle(2)
        self.third, self.down = nn.Conv2d(8, 16, 3, padding=1), nn.PixelUnshuffle(2)
        self.last, self.head = nn.Conv2d(64, 24, 1), nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.third(self.up(self.second(self.turns(self.first(x).relu())).relu()))
        return self.head(self.last(self.down(x)).relu().mean((2, 3)))


class OneDimension(nn.Module):
    """Signals: convolutions in one dimension, two of them transposed, one of these depthwise."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv1d(4, 16, 3, padding=1), nn.InstanceNorm1d(16, affine=True)
        self.up, self.each = nn.ConvTranspose1d(16, 12, 2, 2), nn.ConvTranspose1d(12, 12, 2, 2, groups=12)
        self.last, self.head = nn.Conv1d(12, 24, 3), nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.each(self.up(self.norm(self.first(x)).relu()))
        return self.head(self.last(x.relu()).mean(2))


class ThreeDimensions(nn.Module):
    """Volumes: convolutions in three dimensions, and a norm over channels and positions together."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.pool = nn.Conv3d(2, 16, 3, padding=1), nn.BatchNorm3d(16), nn.MaxPool3d(2)
        self.second, self.all = nn.Conv3d(16, 24, (1, 3, 3)), nn.LayerNorm([24, 2, 2, 2])
        self.up, self.head = nn.ConvTranspose3d(24, 8, 2, 2), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.all(self.second(self.pool(self.norm(self.first(x)).relu())))
        return self.head(self.up(x.relu()).mean((2, 3, 4)))


class Unknown(torch.autograd.Function):
    """An activation of the user's own."""

    @staticmethod
    def forward(_context: object, x: Tensor) -> Tensor:  # type: ignore[override]
        return x * torch.sigmoid(x)


class Strange(nn.Module):
    """Operators that no rule names go through channels one by one: a custom activation, a warp, a spectrum."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.warp, self.last = nn.Conv2d(3, 16, 3, padding=1), nn.Linear(16, 6), nn.Conv2d(16, 24, 1)
        self.head = nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = Unknown.apply(self.first(x))
        grid = F.affine_grid(self.warp(x.mean((2, 3))).view(-1, 2, 3), list(x.shape))
        x = torch.fft.irfft2(torch.fft.rfft2(F.grid_sample(x, grid)))
        return self.head(self.last(x).mean((2, 3)))


class TwoSequences(nn.Module):
    """torch's own attention of one sequence over another: its joint projection is split before it is used."""

    def __init__(self, other: int | None = None) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 32, 4, 4)
        self.narrow = nn.Linear(32, other) if other else nn.Identity()
        self.attention = nn.MultiheadAttention(32, 4, batch_first=True, kdim=other, vdim=other)
        self.head = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        there = self.narrow(tokens[:, 4:])
        return self.head(self.attention(tokens[:, :4], there, there)[0].mean(1))


ODD: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], set[tuple[int, int]]]] = {
    "projected": (Projected, PIXELS, {(32, 1), (48, 1), (24, 1)}),
    "given size": (GivenSize, PIXELS, {(16, 1), (24, 1), (20, 1), (12, 1)}),
    "twice": (Twice, PIXELS, set()),
    "larger": (Larger, PIXELS, {(16, 1), (24, 1)}),
    "without weights": (WithoutWeights, PIXELS, {(24, 1), (48, 1)}),
    "multiplied": (Multiplied, PIXELS, {(24, 1), (48, 1), (40, 1)}),
    "functions": (Functions, PIXELS, {(16, 1), (24, 1)}),
    "computed": (Computed, PIXELS, {(4, 1), (32, 4), (24, 1), (20, 1)}),
    "merged": (Merged, PIXELS, {(16, 1)}),
    "recurrent": (Recurrent, PIXELS, {(16, 1), (24, 1), (40, 1)}),
    "recurrent cell": (lambda: Recurrent(cell=True), PIXELS, {(16, 1), (24, 1), (40, 1)}),
    "mixer": (Mixer, PIXELS, {(24, 1), (40, 1), (64, 1)}),
    "cosine": (Cosine, PIXELS, {(32, 1), (4, 1)}),
    "spelled": (Spelled, PIXELS, {(32, 1), (4, 1)}),
    "chosen": (Chosen, PIXELS, {(4, 1), (12, 1), (24, 1), (8, 1)}),
    "cross stage": (CrossStage, PIXELS, {(16, 1), (40, 1)}),
    "spread": (Spread, PIXELS, {(4, 1), (8, 4), (16, 1), (24, 1)}),
    "one dimension": (OneDimension, (4, 32), {(16, 1), (12, 1), (24, 1)}),
    "three dimensions": (ThreeDimensions, (2, 4, 8, 8), {(16, 1), (24, 1), (8, 1)}),
    "two sequences": (TwoSequences, PIXELS, {(32, 1), (4, 1)}),
    "two widths": (lambda: TwoSequences(24), PIXELS, {(32, 1), (24, 1), (4, 1)}),
    "strange": (Strange, PIXELS, {(16, 1), (24, 1)}),
}
