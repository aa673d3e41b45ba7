"""A group: a set of layers whose channels must change together, and how channels are removed from all of them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from .graph.shrink import Number, Place, take_out

FINE_LIMIT = 24
"""Groups of at most this many channels may use multiples of 8 where the target likes 16."""


@dataclass(frozen=True)
class Member:
    """One side of a layer that loses channels with its group.

    Attributes:
        layer: Name of the layer, or of the module whose own parameter it is.
        side: "out", "in", or "both" where they are one.
        pairs: (r, i) says that with the group's channel r the index i goes.
        places: The dimensions of weights in which it does.
    """

    layer: str
    side: str
    pairs: tuple[tuple[int, int], ...]
    places: tuple[Place, ...]


@dataclass(frozen=True)
class Group:
    """A set of layer sides that lose channels together.

    Attributes:
        name: The first layer, in order of execution, whose outputs shrink.
        channels: Number of channels.
        blocks: Number of blocks of channels that must stay of one size, as grouped convolutions need it.
        depth: 0 at the input, 1 at the output.
        kind: "stream" when several layers write into the same channels (a residual stream), "inner" otherwise.
        members: The sides of layers.
        importance: [channels]; channels of larger importance are kept longer.
        numbers: Numbers in operators that fall with the channels: for each, by how much with each channel.
    """

    name: str
    channels: int
    blocks: int
    depth: float
    kind: str
    members: tuple[Member, ...] = field(repr=False)
    importance: torch.Tensor = field(repr=False, compare=False)
    numbers: Mapping[Number, tuple[int, ...]] = field(default_factory=dict, repr=False, compare=False)

    def keep(self, count: int) -> list[int]:
        """Return the `count` most important channels, equally many in each block, in ascending order."""
        per_block = self.channels // self.blocks
        scores = self.importance.view(self.blocks, per_block)
        top = scores.topk(count // self.blocks, dim=1).indices
        offsets = torch.arange(self.blocks).unsqueeze(1) * per_block
        return sorted((top + offsets).flatten().tolist())

    @property
    def width(self) -> int:
        """Outputs of a layer that go with one channel, where they are fewest: a head of attention has many."""
        written = [len(m.pairs) // self.channels for m in self.members if m.side != "in"]
        return max(1, min(written, default=1))

    def choices(self, multiple: int, min_fraction: float) -> tuple[int, ...]:
        """Return the channel counts that this group may have, ascending, the full count last.

        Args:
            multiple: Counts are multiples of it, as far as blocks allow.
            min_fraction: Smallest part of the channels that may stay.
        """
        step = min(multiple, 8) if self.channels <= FINE_LIMIT else multiple
        step = math.lcm(max(1, step // self.width), self.blocks)
        low = max(step, math.ceil(self.channels * min_fraction))
        return (*(c for c in range(step, self.channels, step) if c >= low), self.channels)


def channel_sums(values: torch.Tensor, dim: int, pairs: Sequence[tuple[int, int]], count: int) -> torch.Tensor:
    """Return what each channel of a group has in a weight, [count], on the CPU.

    Args:
        values: One number for each weight, [..., n, ...].
        dim: The dimension in which the channels lie.
        pairs: (r, i) says that index i of it goes with channel r.
        count: Number of channels.
    """
    each = values.transpose(0, dim).flatten(1).sum(1) if values.ndim > 1 else values
    r, i = torch.tensor(pairs).T
    return torch.zeros(count).index_add_(0, r, each[i].cpu())


@dataclass(frozen=True)
class LeftOut:
    """Something that cannot be searched, and why."""

    name: str
    reason: str


def remove_channels(model: nn.Module, groups: Sequence[Group], channels: Mapping[str, int]) -> dict[str, list[int]]:
    """Shrink a network in place.

    Args:
        model: The network that the groups were found in, or a copy.
        groups: Its groups.
        channels: Group name -> channels that stay; other groups keep all.

    Returns:
        For each layer that lost inputs, the input indices that stayed.
    """
    lost: dict[Place, set[int]] = defaultdict(set)
    less: dict[Number, int] = defaultdict(int)
    inputs: dict[str, set[int]] = defaultdict(set)
    full: dict[str, int] = {}
    for group in groups:
        count = channels.get(group.name, group.channels)
        if count == group.channels:
            continue
        gone = set(range(group.channels)) - set(group.keep(count))
        for member in group.members:
            indices = {i for r, i in member.pairs if r in gone}
            for place in member.places:
                lost[place] |= indices
                if member.side == "in" and place.parameter == f"{member.layer}.weight":
                    inputs[member.layer] |= indices
                    weight: Any = model.get_submodule(member.layer).weight
                    full[member.layer] = weight.shape[place.dim] * place.blocks
        for number, falls in group.numbers.items():
            less[number] += sum(falls[r] for r in gone)
    take_out(model, lost, less)
    return {name: sorted(set(range(full[name])) - indices) for name, indices in inputs.items()}
