"""Which groups of channels a network has.

They are found on the network as a graph (see `spaces.graph.walk`): every number of every weight is followed through
reshapes, splits and attention, so that what is kept is known by its index. Shrinking a copy takes milliseconds.
"""

from __future__ import annotations

import copy
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx, nn

from ..errors import one_line
from .graph.capture import capture
from .graph.classes import Channels, counts, find_channels, places_of, settle
from .graph.members import Slice
from .graph.rules import rule_for
from .graph.shrink import Number, Place
from .graph.walk import Walk
from .group import Group, LeftOut, Member, channel_sums, remove_channels
from .inputs import Inputs, call
from .layers import first_names

__all__ = ["Group", "LeftOut", "Member", "find_groups", "remove_channels"]


def find_groups(
    model: nn.Module, example_input: Inputs, depths: Mapping[str, float]
) -> tuple[tuple[Group, ...], tuple[LeftOut, ...]]:
    """Find every group whose channels can really be removed, and the others with their reason.

    All groups are tried together on a copy: half of the channels go, then a few, and the outputs must keep their
    shape. Where that fails, halves of the groups are tried, down to single ones.

    Args:
        model: The network in eval mode. It is not changed. Where it is no graph yet (see `spaces.graph.capture`), its
            own code still decides what can shrink.
        example_input: [1, ...].
        depths: Layer name -> place in the network, 0 to 1.
    """
    walk = Walk(model if isinstance(model, fx.GraphModule) else capture(model, example_input))
    walk.run(example_input, rule_for)
    settle(walk)
    walk.slices = _by_first_names(walk)
    depths = _all_depths(walk, depths)
    numbers = _numbers(walk)
    alike = find_channels(walk)
    touched = places_of(walk, alike)
    groups = _named([_group(walk, c, touched[i], depths, numbers) for i, c in enumerate(alike)])
    left = _left_out(walk, groups, depths)
    kept, wrong = _those_that_run(model, groups, example_input)
    return tuple(kept), (*left, *(LeftOut(group.name, reason) for group, reason in wrong))


def _by_first_names(walk: Walk) -> list[Slice]:
    """Return what was found of parameters; those of a module that has several names have the first, as layers do."""
    names = first_names(walk.graph)
    found = []
    for part in walk.slices:
        owner, _, leaf = part.parameter.rpartition(".")
        found.append(replace(part, parameter=f"{names[owner]}.{leaf}") if owner in names else part)
    return found


def _those_that_run(
    model: nn.Module, groups: Sequence[Group], example_input: Inputs
) -> tuple[list[Group], list[tuple[Group, str]]]:
    """Return the groups that can shrink together, and the others with the reason, found by halves."""
    together: list[Group] = []
    wrong: list[tuple[Group, str]] = []
    ahead = [list(groups)]
    while ahead:
        some = ahead.pop()
        reason = _why_not(model, [*together, *some], example_input) if some else None
        if reason is None:
            together += some
        elif len(some) == 1:
            wrong.append((some[0], reason))
        else:
            middle = len(some) // 2
            ahead += [some[middle:], some[:middle]]
    return sorted(together, key=lambda group: group.depth), wrong


def _group(
    walk: Walk,
    channels: Channels,
    places: Sequence[tuple[Slice, NDArray[np.int64]]],
    depths: Mapping[str, float],
    numbers: Mapping[int, Mapping[Number, int]],
) -> Group:
    """Return a group; `places` are the parts of parameters that it touches, each with its classes."""
    found: dict[tuple[str, str, tuple[tuple[int, int], ...]], list[Place]] = defaultdict(list)
    row = {int(root): r for r, root in enumerate(channels.roots)}
    scores: list[torch.Tensor] = []
    seen = set()
    for part, roots in places:
        inside = np.flatnonzero(np.isin(roots, channels.roots))
        pairs = tuple((row[int(roots[i])], int(i)) for i in inside)
        weight = walk.attribute(part.parameter)
        if not pairs or (id(weight), part.dim) in seen:
            continue
        seen.add((id(weight), part.dim))
        layer = owner_of(part.parameter)
        found[layer, part.side, pairs].append(Place(part.parameter, part.dim, part.blocks))
        scores += _scores(weight, part.dim, part.blocks, pairs, len(row))
    writers = [name for name, side, _ in found if side != "in"]
    first = min(writers or [name for name, _, _ in found], key=lambda n: depths[n])
    own = dict.fromkeys(number for root in channels.roots for number in numbers.get(int(root), ()))
    owners = {name for name, side, _ in found if side == "out"}
    return Group(
        name=first,
        channels=len(row),
        blocks=channels.blocks,
        depth=depths[first],
        kind="stream" if len(owners) > 1 else "inner",
        members=tuple(Member(name, side, pairs, tuple(places)) for (name, side, pairs), places in found.items()),
        importance=torch.stack(scores).mean(0) if scores else torch.ones(len(row)),
        numbers={n: tuple(numbers.get(int(root), {}).get(n, 0) for root in channels.roots) for n in own},
    )


def owner_of(parameter: str) -> str:
    """Return the module that holds a parameter; one that the network itself holds stands for itself."""
    return parameter.rpartition(".")[0] or parameter


def _scores(
    weight: torch.Tensor, dim: int, blocks: int, pairs: Sequence[tuple[int, int]], count: int
) -> list[torch.Tensor]:
    """Return the squared magnitudes of each channel in a weight, in a list; empty where they say nothing."""
    if not weight.is_floating_point() or weight.ndim < 2 or blocks > 1:
        return []
    return [channel_sums(weight.detach().float().square(), dim, pairs, count)]


def _all_depths(walk: Walk, depths: Mapping[str, float]) -> dict[str, float]:
    """Return the depth of every module that holds weights: where it is no layer, that of the layer before it."""
    found, last = dict(depths), 0.0
    for part in walk.slices:
        name = owner_of(part.parameter)
        last = found.setdefault(name, last)
    return found


def _numbers(walk: Walk) -> dict[int, dict[Number, int]]:
    """Return what falls with each class: the number, and by how much."""
    found: dict[int, dict[Number, int]] = defaultdict(dict)
    for resize in walk.resizes:
        for position, counted in enumerate(resize.counted):
            if counted is not None:
                number = Number(resize.node, resize.argument, None if resize.scalar else position)
                for root, count in counts(walk, counted):
                    found[root][number] = count
    return found


def _named(groups: Sequence[Group]) -> list[Group]:
    """Return groups in order of depth, with names that differ: a layer's channels may fall into several groups."""
    many: dict[str, int] = defaultdict(int)
    named = []
    for group in sorted(groups, key=lambda g: g.depth):
        many[group.name] += 1
        name = group.name if many[group.name] == 1 else f"{group.name}#{many[group.name]}"
        named.append(replace(group, name=name))
    return named


def _left_out(walk: Walk, groups: Sequence[Group], depths: Mapping[str, float]) -> list[LeftOut]:
    writes = {member.layer for group in groups for member in group.members if member.side != "in"}
    left: dict[str, str] = {}
    for part in walk.slices:
        layer = owner_of(part.parameter)
        if part.side == "in" or layer in writes or layer not in depths:
            continue
        reasons = walk.atoms.why_fixed(part.atoms.numpy())
        left.setdefault(layer, reasons[0] if reasons else "all of its channels go together, or not at all")
    return [LeftOut(name, why) for name, why in left.items()]


def _why_not(model: nn.Module, groups: Sequence[Group], example_input: Inputs) -> str | None:
    with torch.no_grad():
        shape = call(model, example_input).shape
    halves, most = ({group.name: part(group) for group in groups} for part in (_half, _nearly_all))
    mixed = {name: (halves, most)[i % 2][name] for i, name in enumerate(halves)}
    for counts_kept in (halves, most, mixed):  # heads of attention divide one count and not the other
        student = copy.deepcopy(model)
        try:
            with torch.no_grad():
                remove_channels(student, groups, counts_kept)
                outputs = call(student, example_input)
        except Exception as error:  # whatever the network's own operators raise is the reason
            return f"pruning it breaks the forward pass ({one_line(error)})"
        if outputs.shape != shape:
            return f"pruning it changes the output shape ({list(shape)} -> {list(outputs.shape)})"
    return None


def _half(group: Group) -> int:
    return max(1, group.channels // 2 // group.blocks) * group.blocks


def _nearly_all(group: Group) -> int:
    return max(group.blocks, group.channels - math.lcm(8, group.blocks))
