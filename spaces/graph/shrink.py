"""Taking channels out of a captured network: slices of its weights, and the numbers that its operators hold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd


@dataclass(frozen=True)
class Place:
    """One dimension of one parameter or buffer.

    Attributes:
        parameter: Its name.
        dim: The dimension.
        blocks: Blocks of a convolution in groups whose inputs are numbered through all blocks; 1 elsewhere.
    """

    parameter: str
    dim: int
    blocks: int = 1


@dataclass(frozen=True)
class Number:
    """A number in the arguments of an operator.

    Attributes:
        node: Name of the operator's node.
        argument: Index of the argument.
        position: Index in the argument where that is a list, else None.
    """

    node: str
    argument: int
    position: int | None


def take_out(network: nn.Module, lost: Mapping[Place, Iterable[int]], less: Mapping[Number, int]) -> None:
    """Shrink a network in place.

    Args:
        network: The captured network, or a copy of it.
        lost: For each place, the indices that go.
        less: For each number in an operator, by how much it falls.
    """
    for place, indices in lost.items():
        gone = sorted(set(indices))
        if gone:
            _cut(network, place, gone)
    for owner in {place.parameter.rpartition(".")[0] for place in lost}:
        _tell(network.get_submodule(owner))
    if less and isinstance(network, fx.GraphModule):
        _rewrite(network, less)


def _cut(network: nn.Module, place: Place, gone: list[int]) -> None:
    owner, _, leaf = place.parameter.rpartition(".")
    module = network.get_submodule(owner)
    old: Tensor = getattr(module, leaf)
    away = set(gone)
    stays = [i for i in range(_size(old, place)) if i not in away]
    old.data = _kept(old.data, place, stays)  # in place, so that whoever shares it sees it too
    old.grad = None


def _size(tensor: Tensor, place: Place) -> int:
    return tensor.shape[place.dim] * place.blocks


def _kept(tensor: Tensor, place: Place, stays: list[int]) -> Tensor:
    if place.blocks == 1:
        return tensor.index_select(place.dim, torch.tensor(stays, dtype=torch.long)).contiguous()
    width = tensor.shape[1]
    rows = tensor.chunk(place.blocks, 0)
    parts = []
    for block, part in enumerate(rows):
        own = [i - block * width for i in stays if block * width <= i < (block + 1) * width]
        parts.append(part.index_select(1, torch.tensor(own, dtype=torch.long)))
    return torch.cat(parts).contiguous()


def _tell(module: Any) -> None:
    """Let a module's own attributes follow from its weights."""
    if isinstance(module, _ConvTransposeNd):
        if module.groups == module.in_channels > 1:
            module.groups = module.weight.shape[0]
        module.in_channels, module.out_channels = module.weight.shape[0], module.weight.shape[1] * module.groups
    elif isinstance(module, _ConvNd):
        if module.groups == module.in_channels > 1:  # depthwise: each input has outputs of its own
            module.groups = module.weight.shape[0] // (module.out_channels // module.in_channels)
        module.out_channels, module.in_channels = module.weight.shape[0], module.weight.shape[1] * module.groups
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, _NormBase):
        held = module.weight if module.weight is not None else module.running_mean
        if held is not None:
            module.num_features = len(held)
    elif isinstance(module, nn.GroupNorm):
        module.num_channels = len(module.weight)
    elif isinstance(module, nn.LayerNorm | nn.RMSNorm):
        module.normalized_shape = tuple(module.weight.shape)
    elif isinstance(module, nn.PReLU):
        module.num_parameters = len(module.weight)
    elif isinstance(module, nn.Embedding):
        module.embedding_dim = module.weight.shape[1]


def _rewrite(network: fx.GraphModule, less: Mapping[Number, int]) -> None:
    by_node: dict[str, list[tuple[Number, int]]] = defaultdict(list)
    for number, fall in less.items():
        if fall:
            by_node[number.node].append((number, fall))
    for node in network.graph.nodes:
        for number, fall in by_node.get(node.name, ()):
            args: list[Any] = list(node.args)
            if number.position is None:
                args[number.argument] -= fall
            else:
                sizes = list(args[number.argument])
                sizes[number.position] -= fall
                args[number.argument] = sizes
            node.args = tuple(args)
    network.recompile()
