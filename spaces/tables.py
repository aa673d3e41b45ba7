"""The tables of a network: embeddings, whose rows are looked up and multiplied with nothing."""

from __future__ import annotations

from typing import Any

from torch import fx, nn

from .graph.operator_rules import name_of
from .group import LeftOut
from .inputs import Inputs
from .layers import Layer, outputs_of, readers_of_weights

EMBEDDING = "embedding"
"""The kind of such layers."""


def find_tables(model: nn.Module, example_input: Inputs) -> tuple[tuple[Layer, ...], tuple[LeftOut, ...]]:
    """Return the embeddings whose rows a network looks up by its inputs.

    They are layers that decide about the size of files alone: they compute nothing, and what makes a network narrower
    makes their rows shorter by itself.

    Args:
        model: The captured network, in eval mode on the CPU; any other has none.
        example_input: [1, ...], of each input.

    Returns:
        The embeddings, of no multiply-accumulates, in order of execution; and those that stay as they are, with the
        reasons.
    """
    if not isinstance(model, fx.GraphModule):
        return (), ()
    modules: dict[str, nn.Module] = {
        name: part for name, part in model.named_modules() if isinstance(part, nn.Embedding)
    }
    if not modules:
        return (), ()
    shapes = outputs_of(model, example_input, modules)
    asked = _looked_up_by_inputs(model)
    found, left_out, readers = [], [], readers_of_weights(model)
    for name, shape in shapes.items():
        weight: Any = modules[name].weight
        other = next((each for each in readers.get(id(weight), ()) if each != name), None)
        if other is not None:
            left_out.append(LeftOut(name, f"its table is also a weight of {other}, so it stays in float"))
        elif name in asked:
            area = shape.numel() // shape[-1]
            found.append(Layer(name, EMBEDDING, 0.0, weight.numel(), 0, area, tuple(weight.shape)))
        else:
            left_out.append(LeftOut(name, "the same rows are looked up at all times: files hold these alone"))
    return tuple(found), tuple(left_out)


def _looked_up_by_inputs(model: fx.GraphModule) -> set[str]:
    # what depends on sizes of inputs alone, such as the numbers of positions, is worked out before files are written
    moving: set[fx.Node] = set()
    for node in model.graph.nodes:
        sized = node.op == "call_function" and name_of(node).startswith("sym_")
        if node.op == "placeholder" or (not sized and any(given in moving for given in node.all_input_nodes)):
            moving.add(node)
    looked_up = [n for n in moving if n.op == "call_module" and isinstance(_part(model, n), nn.Embedding)]
    return {str(node.target) for node in looked_up if any(given in moving for given in node.all_input_nodes)}


def _part(model: fx.GraphModule, node: fx.Node) -> nn.Module:
    return model.get_submodule(str(node.target))
