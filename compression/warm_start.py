"""Warm start: a student starts where a measured neighbour ended, from weights put back into a copy of the teacher."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from ..errors import TrialFailed
from ..spaces.factors import Factor
from ..spaces.graph.block import Block
from ..spaces.groups import Group
from ..spaces.spec import StudentSpec
from .edits import Parent, edited
from .factored import merged


@torch.no_grad()
def warm_parent(parent: Parent, neighbour: StudentSpec, state: Mapping[str, Tensor]) -> Parent:
    """Return a copy of `parent` with the neighbour's weights and buffers wherever the neighbour has kept any.

    What belongs to blocks that the neighbour lacks stays the parent's. Of a layer that it has in two parts the copy has
    their product, whose nearest parts of the same rank have that product again. `make_student` shrinks the copy as it
    shrinks the parent; for the neighbour's own specification it gives back the neighbour. Which channels stay is still
    for the groups to say, whose importance is the teacher's, so the wider of two students has all channels of the
    narrower one. What patterns had set to zero stays zero until it is trained.

    Args:
        parent: The trained network.
        neighbour: The specification of a student that was taught. Modules that it replaces must have no weights.
        state: Its state_dict after recovery, on any device.

    Raises:
        TrialFailed: `state` is not that of a student of this specification.
    """
    if name := neighbour.student:
        own = warm_parent(parent.named(name), replace(neighbour, student=""), state)
        return replace(parent, students={**parent.students, name: own})
    state, neighbour = merged(state, neighbour.factors), replace(neighbour, factors={})
    taught = copy.deepcopy(parent.module)
    values: dict[str, Tensor] = {}
    origins = _origins(parent, neighbour)
    for name, old in _tensors(taught).items():
        if name not in origins:  # of a block that the neighbour lacks
            values[name] = old.clone()
            continue
        index, found = origins[name], state.get(name)
        if found is None or found.shape != index.shape:
            got = "is missing" if found is None else f"has shape {list(found.shape)}, not {list(index.shape)}"
            raise TrialFailed(f"the neighbour's weights are not those of its spec: {name} {got}")
        # by position, as checkpoints of students lie in memory in another order than the teacher
        value = old.reshape(-1).clone()
        value[index.flatten().to(old.device)] = found.flatten().to(value)
        values[name] = value.view(old.shape)
    _untie(taught, values)
    for name, held in _tensors(taught).items():
        held.copy_(values[name])
    return replace(parent, module=taught)


def distance(a: StudentSpec, b: StudentSpec, groups: Sequence[Group], blocks: Sequence[Block] = ()) -> float:
    """Return how far apart the shapes of two students are, without unit.

    It is the mean over groups of |log(channels of a / channels of b)|, each group counted as often as it has members,
    as that many weights change with it. It is a metric on shapes: 0 for equal channels (bits, patterns and recovery do
    not count), log 2 where one is twice as wide as the other everywhere. Members in blocks that one of the two lacks
    add log 2 each, and so do layers that have other parts in one of the two; where only the rank of those differs, they
    add |log(rank in a / rank in b)|.

    Args:
        a: One specification.
        b: The other.
        groups: The teacher's groups of channels.
        blocks: The teacher's blocks.
    """
    apart = [abs(math.log(_kept(a, group)) - math.log(_kept(b, group))) * len(group.members) for group in groups]
    lone = set(a.dropped) ^ set(b.dropped)
    inside = {layer for block in blocks if block.name in lone for layer in block.layers}
    apart += [math.log(2) for group in groups for member in group.members if member.layer in inside]
    apart += [_of_layer(a.factors.get(name), b.factors.get(name)) for name in {**a.factors, **b.factors}]
    return sum(apart) / max(1, sum(len(group.members) for group in groups))


def _of_layer(one: Factor | None, other: Factor | None) -> float:
    if one is None or other is None or one.kind != other.kind:
        return math.log(2)
    return abs(math.log(max(1, one.rank)) - math.log(max(1, other.rank)))


def _kept(spec: StudentSpec, group: Group) -> int:
    return spec.channels.get(group.name, group.channels)


def _origins(parent: Parent, spec: StudentSpec) -> dict[str, Tensor]:
    """Return tensor name -> which element of the parent's (its flat index) each element of a student's was."""
    # shrinking moves numbers without changing them, so a network of indices says where each went; float64 tells
    # integers apart up to 2^53
    indices = copy.deepcopy(parent.module).double()
    for tensor in _tensors(indices).values():
        if tensor.is_floating_point():
            tensor.copy_(_positions(tensor))
    indices, _ = edited(replace(parent, module=indices), spec)
    # counters and the like belong to no channel: they were not shrunk
    return {n: t.long() if t.is_floating_point() else _positions(t) for n, t in _tensors(indices).items()}


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return parameters and buffers by name, without what a module of the user's may keep beside them."""
    return {name: tensor for name, tensor in module.state_dict().items() if isinstance(tensor, Tensor)}


def _positions(tensor: Tensor) -> Tensor:
    return torch.arange(tensor.numel(), device=tensor.device).view(tensor.shape)


def _untie(module: nn.Module, values: Mapping[str, Tensor]) -> None:
    """Let parameters that the teacher's layers shared, and that have parted in the neighbour, become their own."""
    first: dict[int, str] = {}
    for name, tensor in module.state_dict(keep_vars=True).items():
        if isinstance(tensor, nn.Parameter):
            same = first.setdefault(id(tensor), name)
            if not torch.equal(values[name], values[same]):
                owner, _, leaf = name.rpartition(".")
                setattr(module.get_submodule(owner), leaf, nn.Parameter(tensor.detach().clone()))
