"""The recurrent layers of a network: one operator reads a whole sequence with each of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import fx, nn

from .graph.operator_rules import name_of
from .group import LeftOut
from .inputs import Inputs, mapped, tensors_of
from .layers import Layer

KINDS = {"lstm": "lstm", "gru": "gru", "rnn_tanh": "rnn", "rnn_relu": "rnn"}
"""Operator -> the kind of layer that it runs."""
COMPUTED = "its weights are no parameters of one recurrent layer, or it reads packed sequences: it stays in float"
PROJECTED = "it projects what it remembers: it stays in float"


def find_recurrent(model: nn.Module, example_input: Inputs) -> tuple[tuple[Layer, ...], tuple[LeftOut, ...]]:
    """Return the recurrent layers of a network whose bits can be chosen.

    Args:
        model: The captured network, in eval mode on the CPU; any other has none.
        example_input: [1, ...], of each input.

    Returns:
        The layers, in order of execution, a stack of several or of two directions as one; and those that stay as they
        are, with the reasons.
    """
    if not isinstance(model, fx.GraphModule):
        return (), ()
    order = {node: i / len(model.graph.nodes) for i, node in enumerate(model.graph.nodes)}
    run = [node for node in order if _is_recurrent(node)]
    if not run:
        return (), ()
    able = recurrent_nodes(model)
    steps = _steps(model, example_input, run)
    found = []
    for name, (node, *_) in able.items():
        weights = [weight for weight in _weights(model, node) if weight.ndim == 2]
        numbers, kind = sum(weight.numel() for weight in weights), KINDS[name_of(node)]
        shape = tuple(weights[0].shape)
        found.append(Layer(name, kind, order[node], numbers, numbers * steps[node], steps[node], shape))
    known = {node for nodes in able.values() for node in nodes}
    left_out = {_name(node): _why(model, node) for node in run if node not in known}
    return tuple(found), tuple(LeftOut(*entry) for entry in left_out.items())


def recurrent_nodes(model: nn.Module) -> Mapping[str, tuple[fx.Node, ...]]:
    """Return the name of each recurrent layer that can be quantized -> the operators that run it.

    Args:
        model: The captured network; any other has none.
    """
    found: dict[str, tuple[fx.Node, ...]] = {}
    if not isinstance(model, fx.GraphModule):
        return found
    for node in model.graph.nodes:
        if _is_recurrent(node) and not _why(model, node):
            found[_name(node)] = (*found.get(_name(node), ()), node)
    return found


def _is_recurrent(node: fx.Node) -> bool:
    return node.op == "call_function" and name_of(node) in KINDS


def _why(model: fx.GraphModule, node: fx.Node) -> str:
    """Return why the bits of a recurrent layer cannot be chosen, empty where they can."""
    whole = getattr(node.target, "_overloadname", "input") == "input"  # the other one reads packed sequences
    weights: Any = node.args[2] if whole and len(node.args) > 2 else ()
    given = [getattr(weight, "op", "") == "get_attr" for weight in weights] if isinstance(weights, list | tuple) else []
    if not given or not all(given) or len({_owner(weight) for weight in weights}) > 1 or not _owner(weights[0]):
        return COMPUTED
    trained = dict(model.named_parameters(remove_duplicate=False))
    if any(str(weight.target) not in trained for weight in weights):
        return COMPUTED
    return PROJECTED if any("weight_hr" in str(weight.target) for weight in weights) else ""


def _owner(weight: fx.Node) -> str:
    return str(weight.target).rpartition(".")[0]


def _name(node: fx.Node) -> str:
    held = next((given for given in node.all_input_nodes if given.op == "get_attr"), node)
    return _owner(held) or held.name


def _weights(model: fx.GraphModule, node: fx.Node) -> list[torch.Tensor]:
    weights: Any = node.args[2]
    return [model.get_parameter(str(weight.target)) for weight in weights]


def _steps(model: fx.GraphModule, example_input: Inputs, run: list[fx.Node]) -> dict[fx.Node, int]:
    """Run the network; return how many positions each of these operators reads."""
    seen: dict[fx.Node, int] = {}

    class Look(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            if n in run:
                (read, *_), _ = self.fetch_args_kwargs_from_env(n)
                seen[n] = read.numel() // read.shape[-1]
            return super().run_node(n)

    with torch.no_grad():
        Look(model).run(*tensors_of(mapped(torch.clone, example_input)))
    return seen
