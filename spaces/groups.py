"""Groups: sets of layers whose channels must change together, and how channels are removed from all of them.

The dependency graph is torch-pruning's (Fang et al. 2023, arXiv:2301.12900). It is walked once, on the teacher;
what it said is kept as plain index maps, so that shrinking a copy afterwards takes milliseconds.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from ..errors import one_line
from ..quieting import quietly
from .layers import KINDS

FINE_LIMIT = 24
"""Groups of at most this many channels may use multiples of 8 where the target likes 16."""


@dataclass(frozen=True)
class Member:
    """One side of a layer that loses channels with its group.

    Attributes:
        layer: Name of the layer, or of a parameter.
        side: "out", "in", or "both" where they are one.
        pairs: (r, i) says that with the group's channel r the layer's index i goes.
        prune: torch-pruning's function for that side of that layer type; it takes the module and the indices that go.
    """

    layer: str
    side: str
    pairs: tuple[tuple[int, int], ...]
    prune: Callable[[Any, list[int]], Any] = field(compare=False, repr=False)


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
    """

    name: str
    channels: int
    blocks: int
    depth: float
    kind: str
    members: tuple[Member, ...] = field(repr=False)
    importance: torch.Tensor = field(repr=False, compare=False)

    def keep(self, count: int) -> list[int]:
        """Return the `count` most important channels, equally many in each block, in ascending order."""
        per_block = self.channels // self.blocks
        scores = self.importance.view(self.blocks, per_block)
        top = scores.topk(count // self.blocks, dim=1).indices
        offsets = torch.arange(self.blocks).unsqueeze(1) * per_block
        return sorted((top + offsets).flatten().tolist())

    def choices(self, multiple: int, min_fraction: float) -> tuple[int, ...]:
        """Return the channel counts that this group may have, ascending, the full count last.

        Args:
            multiple: Counts are multiples of it, as far as blocks allow.
            min_fraction: Smallest part of the channels that may stay.
        """
        step = min(multiple, 8) if self.channels <= FINE_LIMIT else multiple
        step = math.lcm(step, self.blocks)
        low = max(step, math.ceil(self.channels * min_fraction))
        return (*(c for c in range(step, self.channels, step) if c >= low), self.channels)


@dataclass(frozen=True)
class LeftOut:
    """Something that cannot be searched, and why."""

    name: str
    reason: str


def find_groups(
    model: nn.Module, example_input: torch.Tensor, depths: Mapping[str, float]
) -> tuple[tuple[Group, ...], tuple[LeftOut, ...]]:
    """Find every group whose channels can really be removed, and the others with their reason.

    Each group is tried on a copy: half of its channels go, then a few, and the outputs must keep their shape. Then all
    groups are tried together.

    Args:
        model: The network, in eval mode. It is not changed.
        example_input: [1, ...].
        depths: Layer name -> place in the network, 0 to 1.
    """
    try:
        with quietly():  # it prints and warns about every operator it has to guess; each group is verified anyway
            candidates = list(_walk(copy.deepcopy(model), example_input, depths))
    except Exception as error:  # torch-pruning raises bare exceptions of many kinds on graphs it cannot trace
        untraced = f"torch-pruning cannot trace this network ({type(error).__name__}: {one_line(error)})"
        return (), (LeftOut("all groups", untraced),)
    with torch.no_grad():
        shape = model(example_input).shape
    alone: list[Group] = []
    left: list[LeftOut] = []
    for group in sorted(candidates, key=lambda g: g.depth):
        reason = _why_not(model, [group], example_input, shape)
        if reason:
            left.append(LeftOut(group.name, reason))
        else:
            alone.append(group)
    if not _why_not(model, alone, example_input, shape):
        return tuple(alone), tuple(left)
    together: list[Group] = []
    for group in alone:
        if _why_not(model, [*together, group], example_input, shape):
            left.append(LeftOut(group.name, "its channels cannot shrink together with those of earlier groups"))
        else:
            together.append(group)
    return tuple(together), tuple(left)


def remove_channels(model: nn.Module, groups: Sequence[Group], channels: Mapping[str, int]) -> dict[str, list[int]]:
    """Shrink a network in place.

    Args:
        model: The network that the groups were found in, or a copy.
        groups: Its groups.
        channels: Group name -> channels that stay; other groups keep all.

    Returns:
        For each layer that lost inputs, the input indices that stayed.
    """
    lost: dict[tuple[str, str], set[int]] = {}
    prune: dict[tuple[str, str], Callable[[Any, list[int]], Any]] = {}
    for group in groups:
        count = channels.get(group.name, group.channels)
        if count == group.channels:
            continue
        gone = set(range(group.channels)) - set(group.keep(count))
        for member in group.members:
            at = (member.layer, member.side)
            lost.setdefault(at, set()).update(i for r, i in member.pairs if r in gone)
            prune[at] = member.prune
    stayed: dict[str, list[int]] = {}
    for (name, side), indices in lost.items():
        if not indices:
            continue
        owner, _, leaf = name.rpartition(".")
        module = model.get_submodule(owner)
        target = getattr(module, leaf)
        if side == "in":
            inputs = target.weight.shape[1] * getattr(target, "groups", 1)
            stayed[name] = sorted(set(range(inputs)) - indices)
        result = prune[name, side](target, sorted(indices))
        if isinstance(target, nn.Parameter):
            setattr(module, leaf, result)
    return stayed


def _walk(model: nn.Module, example_input: torch.Tensor, depths: Mapping[str, float]) -> Iterator[Group]:
    import torch_pruning

    names = {module: name for name, module in model.named_modules()}
    # frozen parameters are cut out of the traced graph, which would hide their dependencies
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    graph = torch_pruning.DependencyGraph().build_dependency(model, example_inputs=example_input)
    measure = torch_pruning.importance.GroupMagnitudeImportance(p=2)
    parameters = {parameter: name for name, parameter in model.named_parameters()}
    for found in graph.get_all_groups(root_module_types=[cls for cls, _ in KINDS]):
        count = len(found[0].idxs)
        members, blocks = [], 1
        for item in found:
            module = item.dep.target.module
            name = names.get(module) or parameters.get(module)
            if name is None:
                continue
            handler = item.dep.handler
            roots = [i if r is None else r for r, i in zip(item.root_idxs, item.idxs, strict=True)]
            side = "out" if graph.is_out_channel_pruning_fn(handler) else "in"
            pruner = type(handler.__self__)
            if pruner.prune_out_channels is pruner.prune_in_channels:
                side = "both"  # batch norms, depthwise convolutions: one function serves both sides
            members.append(Member(name, side, tuple(zip(roots, item.idxs, strict=True)), handler))
            conv_groups = getattr(module, "groups", 1)
            if conv_groups > 1 and conv_groups != getattr(module, "out_channels", 0):
                blocks = math.lcm(blocks, conv_groups)
        writers = [m.layer for m in members if m.side == "out" and m.layer in depths]
        if not writers or count % blocks:
            continue
        first = min(writers, key=lambda n: depths[n])
        importance = measure(found)
        if importance is None or len(importance) != count:
            importance = torch.ones(count)
        yield Group(
            name=first,
            channels=count,
            blocks=blocks,
            depth=depths[first],
            kind="stream" if len(set(writers)) > 1 else "inner",
            members=tuple(members),
            importance=importance.detach().float().cpu(),
        )


def _why_not(model: nn.Module, groups: list[Group], example_input: torch.Tensor, shape: torch.Size) -> str | None:
    for part in (_half, _nearly_all):  # heads of attention divide one count and not the other
        student = copy.deepcopy(model)
        try:
            with torch.no_grad():
                remove_channels(student, groups, {g.name: part(g) for g in groups})
                outputs = student(example_input)
        except Exception as error:  # whatever the network's own forward raises is the reason
            return f"pruning it breaks the forward pass ({one_line(error)})"
        if outputs.shape != shape:
            return f"pruning it changes the output shape ({list(shape)} -> {list(outputs.shape)})"
    return None


def _half(group: Group) -> int:
    return max(1, group.channels // 2 // group.blocks) * group.blocks


def _nearly_all(group: Group) -> int:
    return max(group.blocks, group.channels - math.lcm(8, group.blocks))
