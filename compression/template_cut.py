"""Templates of students without some blocks, cut out of the teacher's: an export takes seconds, a cut milliseconds.

The blocks are found again in the graph of ONNX, by their layers and by the same rule as in the network (see
`spaces.graph.blocks`). Whether a file that was cut is right shows where each file is held against its student.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from torch import nn

from ..spaces.graph.block import Block
from .export import Template
from .template_numbers import Lesson, constants_of, numbers_of

LAYERS = frozenset({"Conv", "Gemm", "MatMul"})


def cut_template(whole: Template, network: nn.Module, blocks: Sequence[Block]) -> Template | None:
    """Return the template of a network without these blocks, None where they are not found in the graph.

    Args:
        whole: The template of the network with them; it is not changed.
        network: The network without them.
        blocks: In order of execution.
    """
    import onnx

    if any(attribute.HasField("g") for node in whole.model.graph.node for attribute in node.attribute):
        return None
    graph = _Graph(whole)
    past: dict[str, str] = {}
    for block in blocks:
        ends = graph.ends(frozenset(block.layers))
        if ends is None:
            return None
        past[ends[1]] = ends[0]
    model = onnx.ModelProto()
    model.CopyFrom(whole.model)
    for node in model.graph.node:
        node.input[:] = [_passed(name, past) for name in node.input]
    kept = _needed(model, past)
    gone = {layer for block in blocks for layer in block.layers}
    left = {node.name for i, node in enumerate(model.graph.node) if i in kept}
    if any((name in left) == (layer in gone) for name, layer in whole.layers.items()):
        return None
    number = {old: new for new, old in enumerate(sorted(kept))}
    _keep(model, kept)
    names = {initializer.name for initializer in model.graph.initializer}
    return replace(
        whole,
        model=model,
        pairs=tuple(pair for pair in whole.pairs if pair[0] not in gone),
        sources={name: source for name, source in whole.sources.items() if name in names},
        rows={name: rows for name, rows in whole.rows.items() if name in names},
        layers={name: layer for name, layer in whole.layers.items() if layer not in gone},
        tables={name: table for name, table in whole.tables.items() if name in left},
        recurrent={name: layer for name, layer in whole.recurrent.items() if name in left},
        own=Lesson(numbers_of(network), constants_of(model)),
        seen=(),
        numbers={(number[use[0]], *use[1:]): key for use, key in whole.numbers.items() if use[0] in number},
    )


class _Graph:
    """The points of the main stream of a template's graph, as `spaces.graph.points` finds those of a network."""

    def __init__(self, template: Template) -> None:
        self._nodes = list(template.model.graph.node)
        self._layer = {i: template.layers[n.name] for i, n in enumerate(self._nodes) if n.name in template.layers}
        self._outputs = {value.name for value in template.model.graph.output}
        stream = self._stream(template)
        at = {name for node in stream for name in self._nodes[node].output}
        users: dict[str, int] = {}
        for place, node in enumerate(stream):
            users.update(dict.fromkeys((name for name in self._nodes[node].input if name in at), place))
        starts = [p for p, node in enumerate(stream) if not any(name in at for name in self._nodes[node].input)]
        furthest = max(starts, default=0)
        self._points: list[int] = []
        for place, node in enumerate(stream):
            if furthest <= place and len(self._nodes[node].output) == 1:
                self._points.append(node)
            furthest = max([furthest, *(users.get(name, 0) for name in self._nodes[node].output)])

    def ends(self, layers: frozenset[str]) -> tuple[str, str] | None:
        """Return what goes into the block of these layers, and its result; None where there is no such block."""
        inside = [node for node, layer in self._layer.items() if layer in layers]
        for at, (entry, last) in enumerate(pairwise(self._points), 1):
            held = {self._layer[node] for node in range(entry + 1, last + 1) if node in self._layer}
            if held == layers and inside and entry < min(inside) and max(inside) <= last:
                return self._ends(entry, at) if self._adds_to(entry, last) else None
        return None

    def _ends(self, entry: int, at: int) -> tuple[str, str]:
        first, last = self._nodes[entry], self._nodes[self._points[at]]
        end = last
        following = self._nodes[self._points[at + 1]] if at + 1 < len(self._points) else last
        if last.op_type != first.op_type == following.op_type and first.op_type not in LAYERS:
            end = following
        return first.output[0], end.output[0]

    def _adds_to(self, entry: int, last: int) -> bool:
        carried = {self._nodes[entry].output[0]}
        for node in self._nodes[entry + 1 : last + 1]:
            if node.op_type == "Add" and carried & set(node.input):
                carried.add(node.output[0])
        return self._nodes[last].op_type == "Add" and self._nodes[last].output[0] in carried

    def _stream(self, template: Template) -> list[int]:
        """Return the nodes that depend on an input and on a weight, and that an output depends on."""
        weights = template.sources.keys() | template.rows.keys()
        known = {initializer.name for initializer in template.model.graph.initializer}
        of_input = {value.name for value in template.model.graph.input} - known
        learned: set[str] = set()
        found = []
        for i, node in enumerate(self._nodes):
            if node.op_type in ("Shape", "Size") or not any(name in of_input for name in node.input):
                continue
            of_input.update(node.output)
            if any(name in weights or name in learned for name in node.input):
                learned.update(node.output)
                found.append(i)
        needed = set(self._outputs)
        for node in reversed(self._nodes):
            if any(name in needed for name in node.output):
                needed.update(node.input)
        return [i for i in found if any(name in needed for name in self._nodes[i].output)]


def _passed(name: str, past: Mapping[str, str]) -> str:
    while name in past:
        name = past[name]
    return name


def _needed(model: Any, past: Mapping[str, str]) -> set[int]:
    """Return the numbers of the nodes that outputs depend on; none where an output itself would be replaced."""
    needed = {value.name for value in model.graph.output}
    if needed & past.keys():
        return set()
    found = set()
    for i, node in reversed(list(enumerate(model.graph.node))):
        if any(name in needed for name in node.output):
            found.add(i)
            needed.update(node.input)
    return found


def _keep(model: Any, kept: set[int]) -> None:
    """Delete all nodes but these, with the initializers and the shapes that nothing uses any more."""
    nodes = [node for i, node in enumerate(model.graph.node) if i in kept]
    used = {name for node in nodes for name in (*node.input, *node.output)}
    parts = ((model.graph.initializer, used), (model.graph.value_info, used))
    for held, names in parts:
        left = [part for part in held if part.name in names]
        del held[:]
        held.extend(left)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
