"""The layers of a network: every operator that can be pruned, masked or quantized, in the order it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn

from .inputs import Inputs, call

KINDS: tuple[tuple[type[nn.Module], str], ...] = (
    (nn.Conv1d, "conv"),
    (nn.Conv2d, "conv"),
    (nn.Conv3d, "conv"),
    (nn.Linear, "linear"),
)


@dataclass(frozen=True)
class Layer:
    """One operator with weights.

    Attributes:
        name: Name of its module in the network.
        kind: "conv", "pointwise" (a convolution over one position), "depthwise" or "linear".
        depth: 0.0 for the first layer that runs, 1.0 for the last.
        weights: Numbers in the weight tensor.
        macs: Multiply-accumulates for one example, of all its uses.
        area: Positions of the output map of its first use; 1 for a linear layer on [N, F].
        shape: Shape of the weight tensor, [out, in, ...].
        groups: Of a convolution; 1 where each output has all inputs.
        shared_with: What else reads its weight, a module or an operator; empty where nothing does. A module that the
            network has under several names is told by the first; the others count as what else reads it.
        again: Positions of the output maps of its other uses, where it runs more than once.
    """

    name: str
    kind: str
    depth: float
    weights: int
    macs: int
    area: int
    shape: tuple[int, ...]
    groups: int = field(default=1, repr=False)  # what was kept of earlier versions names layers by the rest
    shared_with: str = field(default="", repr=False)
    again: int = field(default=0, repr=False)


@dataclass(frozen=True)
class LeafModule:
    """A module without submodules or parameters, such as an activation.

    Attributes:
        name: Name of the module in the network.
        type: Name of its class, such as "SiLU".
        depth: Place among all layers and leaf modules, 0.0 for the first that runs, 1.0 for the last.
        size: Numbers in its output for one example.
    """

    name: str
    type: str
    depth: float
    size: int = 0


def find_layers(model: nn.Module, example_input: Inputs) -> tuple[Layer, ...]:
    """Return the layers that run on `example_input` [1, ...], in order of first use."""
    modules = {name: module for name, module in model.named_modules() if kind_of(module)}
    outputs = _all_outputs_of(model, example_input, modules)
    areas = {name: [_area(modules[name], output) for output in each] for name, each in outputs.items()}
    last, readers = max(1, len(areas) - 1), readers_of_weights(model)
    layers = []
    for i, (name, (area, *others)) in enumerate(areas.items()):
        weight = modules[name].weight
        assert isinstance(weight, torch.Tensor)
        kind, shape = kind_of(modules[name]) or "", tuple(weight.shape)
        groups, reading = _groups(modules[name]), readers.get(id(weight), ())
        other = next((each for each in reading if each != name), "")
        numbers, again = weight.numel(), sum(others)
        macs = numbers * (area + again)
        layers.append(Layer(name, kind, i / last, numbers, macs, area, shape, groups, other, again))
    return tuple(layers)


def find_leaf_modules(model: nn.Module, example_input: Inputs) -> tuple[LeafModule, ...]:
    """Return the modules without submodules or parameters that run on `example_input` [1, ...], in order."""
    leaves = {name: module for name, module in model.named_modules() if name and not any(module.children())}
    outputs = outputs_of(model, example_input, leaves)
    last = max(1, len(outputs) - 1)
    return tuple(
        LeafModule(name, type(leaves[name]).__name__, i / last, shape.numel())
        for i, (name, shape) in enumerate(outputs.items())
        if not any(True for _ in leaves[name].parameters())
    )


def kind_of(module: nn.Module) -> str | None:
    """Return "conv", "pointwise", "depthwise" or "linear", which run in different kernels; None for other modules."""
    kind = next((kind for cls, kind in KINDS if isinstance(module, cls)), None)
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        if module.groups == module.in_channels > 1:
            return "depthwise"
        if module.groups == 1 and set(module.kernel_size) == {1}:
            return "pointwise"
    return kind


def first_names(model: nn.Module) -> dict[str, str]:
    """Return every name of a module -> the first one; they differ where a network has it under several names."""
    first: dict[nn.Module, str] = {}
    return {name: first.setdefault(part, name) for name, part in model.named_modules(remove_duplicate=False)}


def readers_of_weights(model: nn.Module) -> dict[int, list[str]]:
    """Return id of a parameter or buffer -> the modules that hold it, and the operators of a graph that read it."""
    found: dict[int, list[str]] = {}
    by_name: dict[str, int] = {}
    held = (*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False))
    for name, value in held:
        found.setdefault(id(value), []).append(name.rpartition(".")[0])
        by_name[name] = id(value)
    for node in model.graph.nodes if isinstance(model, fx.GraphModule) else ():
        if node.op == "get_attr" and str(node.target) in by_name:
            found[by_name[str(node.target)]] += [user.name for user in node.users]
    return found


def _groups(module: nn.Module) -> int:
    return module.groups if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d) else 1


def outputs_of(model: nn.Module, example_input: Inputs, modules: dict[str, nn.Module]) -> dict[str, torch.Size]:
    """Run the model; return the shape of the first output of each of these modules, in order of first use."""
    return {name: outputs[0] for name, outputs in _all_outputs_of(model, example_input, modules).items()}


def _all_outputs_of(
    model: nn.Module, example_input: Inputs, modules: dict[str, nn.Module]
) -> dict[str, list[torch.Size]]:
    seen: dict[str, list[torch.Size]] = {}

    def record(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            seen.setdefault(name, []).append(output.shape if isinstance(output, torch.Tensor) else torch.Size())

        return hook

    handles = [module.register_forward_hook(record(name)) for name, module in modules.items()]
    try:
        with torch.no_grad():
            call(model, example_input)
    finally:
        for handle in handles:
            handle.remove()
    return seen


def _area(module: nn.Module, output: torch.Size) -> int:
    convolution = isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d)
    return output.numel() // (output[1] if convolution else output[-1])
