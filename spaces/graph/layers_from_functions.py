"""Convolutions and linear layers that stand in the code as functions become modules, so that they count as layers."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import fx, nn

from .parameters_in_parts import WEIGHT
from .spelled_layers import SpelledLayer, spelled_layer

CONVOLUTIONS: dict[str, type[nn.Conv1d | nn.Conv2d | nn.Conv3d]] = {
    "conv1d": nn.Conv1d,
    "conv2d": nn.Conv2d,
    "conv3d": nn.Conv3d,
}


def name_layers(network: fx.GraphModule) -> None:
    """Replace functions that take a parameter as their weight by modules, in place.

    Products of an activation with a matrix are linear layers; their weights, which lie as [in, out], are transposed.
    The parameters of a module that is nothing but such a layer keep their names; where a module has several, `w`
    becomes `w.weight`, and `in_proj_weight`, attention's joint projection, becomes `in_proj.weight`. Weights that
    anything else uses stay as they are.

    Args:
        network: The captured network.
    """
    users = _readers(network)
    shared = Counter(id(value) for _, value in network.named_parameters(remove_duplicate=False))
    of_input: set[fx.Node] = set()
    for node in list(network.graph.nodes):
        if node.op == "placeholder" or not of_input.isdisjoint(node.all_input_nodes):
            of_input.add(node)
        layer = spelled_layer(node)
        if layer is None or ((layer.multiplied or layer.turned) and layer.read not in of_input):
            continue  # a product of parameters is a weight of another layer
        names = [str(part.target) for part in (layer.weight, layer.bias) if part is not None]
        if any(users[name] != 1 for name in names):
            continue
        if layer.turned and shared[id(_attribute(network, names[0]))] != 1:
            continue
        module = _module(network, layer, node, names)
        if module is not None:
            path = _put(network, names, module)
            with network.graph.inserting_before(node):
                made = network.graph.call_module(path, (layer.read,))
            made.meta = dict(node.meta)
            of_input.add(made)
            node.replace_all_uses_with(made)
            _erase(node, layer.read)
    network.graph.eliminate_dead_code()
    network.graph.lint()
    network.recompile()


def _erase(node: fx.Node, kept: fx.Node) -> None:
    """Take a node out of its graph, and all that nothing else needs but `kept`."""
    before = [part for part in node.all_input_nodes if part is not kept]
    node.graph.erase_node(node)
    for part in before:
        if not part.users:
            _erase(part, kept)


def _readers(network: fx.GraphModule) -> Counter[str]:
    """Return how many operators and calls of modules read each parameter or buffer, by name."""
    users = Counter(str(a.target) for n in network.graph.nodes for a in n.all_input_nodes if a.op == "get_attr")
    for node in network.graph.nodes:
        if node.op == "call_module":
            held = network.get_submodule(str(node.target)).named_parameters(str(node.target))
            users.update(name for name, _ in held)
    return users


def _module(network: fx.GraphModule, layer: SpelledLayer, node: fx.Node, names: list[str]) -> nn.Module | None:
    values, kind = [_attribute(network, name) for name in names], layer.kind
    weight = values[0]
    rank = {"linear": 2, "conv1d": 3, "conv2d": 4, "conv3d": 5}[kind]
    if not all(isinstance(value, nn.Parameter) for value in values) or weight.ndim != rank:
        return None
    if layer.turned:
        weight = nn.Parameter(weight.detach().t().contiguous(), weight.requires_grad)
    if kind == "linear":
        if len(values) > 1 and values[1].shape != weight.shape[:1]:
            return None
        module: Any = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    else:
        stride, padding, dilation, groups = (*node.args[3:], *(1, 0, 1, 1)[len(node.args[3:]) :])[:4]
        numbers = (stride, padding, dilation, groups)
        if node.kwargs or not all(_plain(number) for number in numbers) or not isinstance(groups, int):
            return None
        stride, padding, dilation = (_tuple(number, rank - 2) for number in (stride, padding, dilation))
        sizes = weight.shape[1] * groups, weight.shape[0], tuple(weight.shape[2:])
        module = CONVOLUTIONS[kind](*sizes, stride, padding, dilation, groups, bias=False, device="meta")
    module.weight, module.bias = weight, values[1] if len(values) > 1 else None
    return module.eval()  # type: ignore[no-any-return]


def _plain(number: Any) -> bool:
    if isinstance(number, list | tuple):
        return all(isinstance(n, int) for n in number)
    return isinstance(number, int | str)


def _tuple(number: Any, many: int) -> Any:
    if isinstance(number, list | tuple):
        return tuple(number) * (many if len(number) == 1 else 1)
    return number if isinstance(number, str) else (number,) * many


def _put(network: fx.GraphModule, names: list[str], module: nn.Module) -> str:
    """Put a layer where its weight is, and return its path."""
    owner, _, leaf = names[0].rpartition(".")
    parent = network.get_submodule(owner)
    own = {f"{owner}.weight", f"{owner}.bias"}
    held = {f"{owner}.{name}" for name, _ in (*parent.named_parameters(), *parent.named_buffers())}
    if owner and type(parent) is nn.Module and leaf == "weight" and held == set(names) <= own:
        path = owner
    else:
        for name in names:
            delattr(network.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2])
        free = getattr(parent, leaf.removesuffix(WEIGHT), None) is None
        path = names[0].removesuffix(WEIGHT) if free else names[0]
    above, _, last = path.rpartition(".")
    setattr(network.get_submodule(above), last, module)
    return path


def _attribute(network: fx.GraphModule, name: str) -> Any:
    owner, _, leaf = name.rpartition(".")
    return getattr(network.get_submodule(owner), leaf, torch.empty(0))
