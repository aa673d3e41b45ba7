"""Equalization: channels are scaled so that 8 bits serve all of them alike, and the next layer takes the scale back.

A layer's inputs share one grid, while its weights have one for each output channel. So the layer before may have its
output channels scaled for nothing, as far as a ReLU lets a factor through (Nagel et al. 2019, arXiv:1906.04721, section
4.1). A depthwise layer behind it takes that back for nothing too; other layers have one grid for all inputs of an
output channel, and get the square root of it (Xiao et al. 2023, arXiv:2211.10438, section 4).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..spaces.inputs import Inputs, call
from ..spaces.layers import readers_of_weights
from ..spaces.target import INT8_TOP

MOST = 100.0
"""A channel is scaled by no more, nor by less than one over it: what hardly speaks is noise."""


@dataclass(frozen=True)
class Pair:
    """A layer, the batch norm behind it if there is one, and the layer that alone reads it through a ReLU, by name."""

    first: str
    norm: str | None
    second: str


@torch.no_grad()
def equalize(
    module: nn.Module, bits: Mapping[str, int], inputs: Inputs, weight_top: int = INT8_TOP
) -> nn.Module | None:
    """Return a copy of a network that answers the same and loses less to 8 bits; None where nothing can be scaled.

    Args:
        module: The network, on the CPU and in eval mode; one that is no graph is left alone.
        bits: Layer name -> bits, where that is not 32.
        inputs: Calibration inputs [M, ...], run at once.
        weight_top: Largest code of weights in 8 bits, which makes no difference here.
    """
    pairs = [pair for pair in pairs_of(module) if bits.get(pair.second) == 8]
    if not pairs:
        return None
    copied = copy.deepcopy(module).eval()
    reached = _largest_inputs(copied, [pair.second for pair in pairs], inputs)
    for pair in pairs:
        first, second = copied.get_submodule(pair.first), copied.get_submodule(pair.second)
        factors = _factors(second, reached[pair.second])
        _scale_outputs(first if pair.norm is None else copied.get_submodule(pair.norm), factors)
        weight: Any = second.weight
        if _is_depthwise(second):
            weight.div_(factors.repeat_interleave(len(weight) // len(factors)).view(-1, *[1] * (weight.ndim - 1)))
        else:
            weight.div_(factors.view(1, -1, *[1] * (weight.ndim - 2)))
    return copied


def pairs_of(module: nn.Module) -> tuple[Pair, ...]:
    """Return the pairs of layers in a graph between which channels can be scaled."""
    if not isinstance(module, fx.GraphModule):
        return ()
    modules, readers = dict(module.named_modules()), readers_of_weights(module)
    uses = [str(node.target) for node in module.graph.nodes if node.op == "call_module"]
    found = []
    for node in module.graph.nodes:
        second = _module_at(node, modules)
        if not isinstance(second, nn.Conv1d | nn.Conv2d | nn.Linear) or uses.count(str(node.target)) > 1:
            continue
        if not (_groups(second) == 1 or _is_depthwise(second)):
            continue
        behind = _only_input(node)
        if behind is None or not _is_relu(behind, modules):
            continue
        before = _only_input(behind)
        norm = None
        if before is not None and isinstance(_module_at(before, modules), _BatchNorm):
            norm, before = before, _only_input(before)
        if before is None or not isinstance(first := _module_at(before, modules), nn.Conv1d | nn.Conv2d | nn.Linear):
            continue
        if isinstance(first, nn.Linear) != isinstance(second, nn.Linear):
            continue  # the one has its channels in another dimension than the other reads
        names = [str(each.target) for each in (before, norm) if each is not None]
        if any(uses.count(name) > 1 for name in names) or first.weight.shape[0] != _in_channels(second):
            continue
        touched = (second, *(modules[name] for name in names))
        if any(len(readers.get(id(part.weight), ())) > 1 for part in touched):
            continue  # something else reads these weights, which would not take the scale back
        if norm is not None and getattr(_module_at(norm, modules), "weight", None) is None:
            continue
        found.append(Pair(names[0], names[1] if norm is not None else None, str(node.target)))
    return tuple(found)


def _module_at(node: fx.Node, modules: Mapping[str, nn.Module]) -> nn.Module | None:
    return modules.get(str(node.target)) if node.op == "call_module" else None


def _only_input(node: fx.Node) -> fx.Node | None:
    """Return what a node reads, if it reads one thing, which nobody else does."""
    inputs = node.all_input_nodes
    return inputs[0] if len(inputs) == 1 and len(inputs[0].users) == 1 else None


def _is_relu(node: fx.Node, modules: Mapping[str, nn.Module]) -> bool:
    if node.op == "call_function":
        return str(node.target) in ("aten.relu.default", "aten.relu_.default")
    return isinstance(_module_at(node, modules), nn.ReLU)


def _groups(layer: nn.Module) -> int:
    return int(getattr(layer, "groups", 1))


def _in_channels(layer: nn.Conv1d | nn.Conv2d | nn.Linear) -> int:
    return layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels


def _is_depthwise(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv1d | nn.Conv2d) and layer.groups == layer.in_channels > 1


def _largest_inputs(module: nn.Module, names: list[str], inputs: Inputs) -> dict[str, Tensor]:
    """Return the largest input of each channel of some layers."""
    found: dict[str, Tensor] = {}

    def remember(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
            dim = -1 if isinstance(layer, nn.Linear) else 1
            found[name] = given[0].movedim(dim, 0).flatten(1).amax(1)

        return hook

    handles = [module.get_submodule(name).register_forward_pre_hook(remember(name)) for name in names]
    try:
        call(module, inputs)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _factors(second: nn.Module, reached: Tensor) -> Tensor:
    weight: Any = second.weight
    speaks = reached > 0
    if _is_depthwise(second):
        factors = reached.max() / reached
    else:
        column = weight.abs().transpose(0, 1).flatten(1).amax(1)
        factors = (column / reached).sqrt()
        speaks &= column > 0
        if bool(speaks.any()):
            factors = factors / factors[speaks].log().mean().exp()  # the layer before keeps its size
    return torch.where(speaks, factors.clamp(1 / MOST, MOST), torch.ones_like(reached))


def _scale_outputs(part: nn.Module, factors: Tensor) -> None:
    weight: Any = part.weight
    bias: Any = part.bias
    weight.mul_(factors.view(-1, *[1] * (weight.ndim - 1)))
    if bias is not None:
        bias.mul_(factors)
