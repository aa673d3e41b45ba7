"""Constants of a graph that several nodes read: those of them that become something else get one of their own.

Weights that layers share stand in a graph once. Whoever rounds them for one layer would round them for all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SLOT = 1
"""The input of a node that is the weight of its layer."""


@dataclass
class _Own:
    """A constant that some nodes are to have for themselves.

    Attributes:
        source: The initializer that holds it.
        name: What it is to be called.
        order: Its dimensions, where the graph turns it over before these nodes read it; empty where it does not.
        readers: The nodes, as places in the graph.
    """

    source: str
    name: str
    order: tuple[int, ...] = ()
    readers: list[int] = field(default_factory=list)


def with_own_weights(model: Any, layers: Mapping[str, str], forms: Mapping[str, Hashable]) -> Any:
    """Return a copy of a graph in which no other node reads the weights of some layers; the graph where none does.

    A weight that the graph turns over before such a layer reads it is stored as it is read.

    Args:
        model: The graph (onnx.ModelProto).
        layers: Node name -> layer name.
        forms: Layer name -> what becomes of its weight. Layers that are alike in it share one.
    """
    dims = {each.name: len(each.dims) for each in model.graph.initializer}
    turns = {node.output[0]: node for node in model.graph.node if node.op_type == "Transpose" and node.input[0] in dims}
    found: dict[Hashable, _Own] = {}
    for at, node in enumerate(model.graph.node):
        layer = layers.get(node.name, "")
        if layer not in forms or len(node.input) <= SLOT:
            continue
        turn = turns.get(node.input[SLOT])
        source = node.input[SLOT] if turn is None else turn.input[0]
        if source in dims:
            order = () if turn is None else _order(turn, dims[source])
            # other dimensions are those of the outputs where a node takes it transposed
            key = (source, order, _is_transposed(node), forms[layer])
            found.setdefault(key, _Own(source, f"{layer}.weight", order)).readers.append(at)
    left, asked = _readings(model), []
    for own in found.values():
        if own.order:
            asked.append(own)
        elif left[own.source] > len(own.readers):
            left[own.source] -= len(own.readers)  # the last ones that are left need no copy
            asked.append(own)
    return _given(model, asked, lambda own, slot, _: slot == SLOT) if asked else model


def with_own_constants(model: Any, nodes: Collection[str]) -> Any:
    """Return a copy of a graph in which no other node reads the constants of some; the graph itself where none does.

    Single numbers stay: they lie on any grid.

    Args:
        model: The graph (onnx.ModelProto).
        nodes: Names of the nodes that are to have constants of their own.
    """
    from onnx import TensorProto

    several = (i for i in model.graph.initializer if i.data_type == TensorProto.FLOAT and any(d > 1 for d in i.dims))
    found = {each.name: _Own(each.name, each.name) for each in several}
    left = _readings(model)
    for at, node in enumerate(model.graph.node):
        for name in set(node.input) & found.keys() if node.name in nodes else ():
            found[name].readers.append(at)
            left[name] -= list(node.input).count(name)
    asked = [own for own in found.values() if own.readers and left[own.source]]
    return _given(model, asked, lambda own, _, name: name == own.source) if asked else model


def _given(model: Any, asked: Sequence[_Own], is_meant: Callable[[_Own, int, str], bool]) -> Any:
    """Return a copy of a graph in which nodes have these constants for themselves."""
    import onnx
    from onnx import numpy_helper

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    stored = {each.name: each for each in copy.graph.initializer}
    taken = {*stored, *(name for node in copy.graph.node for name in (*node.input, *node.output))}
    before = set(_readings(copy))
    made = []
    for own in asked:
        name = _free(own.name, taken)
        taken.add(name)
        array = numpy_helper.to_array(stored[own.source])
        made.append(numpy_helper.from_array(array.transpose(own.order).copy() if own.order else array, name))
        for at in own.readers:
            node = copy.graph.node[at]
            for slot, read in enumerate(node.input):
                if is_meant(own, slot, read):
                    node.input[slot] = name
    copy.graph.initializer.extend(made)
    for held in (copy.graph.node, copy.graph.initializer):
        # a weight that was turned over may be left without a reader, and then what was turned over
        gone = before - set(_readings(copy))
        for part in [part for part in held if gone.intersection(getattr(part, "output", ()) or (part.name,))]:
            held.remove(part)
    return copy


def _readings(model: Any) -> Counter[str]:
    """Return how often each tensor of a graph is read, outputs of the graph included."""
    outputs = (value.name for value in model.graph.output)
    return Counter([*outputs, *(name for node in model.graph.node for name in node.input)])


def _order(turn: Any, dims: int) -> tuple[int, ...]:
    given = next((tuple(a.ints) for a in turn.attribute if a.name == "perm"), ())
    return given or tuple(reversed(range(dims)))


def _is_transposed(node: Any) -> bool:
    return any(attribute.name == "transB" and attribute.i for attribute in node.attribute)


def _free(name: str, taken: Collection[str]) -> str:
    found, count = name, 2
    while found in taken:
        found, count = f"{name}:{count}", count + 1
    return found
