"""Which blocks of a network can go: what a shortcut leads past, such as residual blocks, attention, feed-forward."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import fx

from ..inputs import Inputs, call, joined, mapped, tensors_of
from ..layers import first_names, kind_of
from ..recurrent import recurrent_nodes
from .block import Block, drop_blocks, nodes_gone
from .operator_rules import name_of
from .points import find_points

SUMS = frozenset({"add", "iadd"})
"""Operators that join a branch with the shortcut past it."""
PASSED_ON = frozenset({"identity", "clone", "contiguous", "alias", "stochasticdepth", "droppath"})
"""Operators, beside dropout, that give what they get while a network is not trained."""
ATTENTION = frozenset({"softmax", "scaled_dot_product_attention"})


def find_blocks(network: fx.GraphModule, example_input: Inputs, depths: Mapping[str, float]) -> tuple[Block, ...]:
    """Find the blocks that can go, each alone and together, in order of execution.

    A block lies between two neighbouring points of the main stream (see `find_points`), of which the second is a sum
    with the first. Where a norm or an activation follows the sum, like the one in front of the block, it belongs to it.

    Args:
        network: The captured network, in eval mode. It is not changed.
        example_input: [1, ...], of each input.
        depths: Layer name -> place in the network, 0 to 1.
    """
    points = find_points(network)
    sums = {at: _first_sum(network, points[at - 1], points[at]) for at in range(1, len(points))}
    found = {at: first for at, first in sums.items() if first is not None}
    if not found:
        return ()
    seen = _Look(network, frozenset(points), {first: points[at - 1] for at, first in found.items()})
    with torch.no_grad():
        seen.run(*tensors_of(mapped(torch.clone, example_input)))
    blocks: list[Block] = []
    recurrent = recurrent_nodes(network)
    for at in found:
        entry, end = points[at - 1], _end(network, points, at)
        gone = nodes_gone(network.graph, {end: entry})
        layers = _layers(network, entry, end, gone)
        if layers and entry not in seen.changed and seen.forms[entry] == seen.forms[end]:
            name = _name(layers, {block.name for block in blocks})
            depth = sum(depths[layer] for layer in layers) / len(layers)
            read = tuple(layer for layer, nodes in recurrent.items() if gone.issuperset(nodes))
            blocks.append(Block(name, entry.name, end.name, layers, _role(network, layers, gone), depth, read))
    return _those_that_run(network, blocks, example_input)


class _Look(fx.Interpreter):
    """Runs a network, and looks at the points of its stream.

    Attributes:
        forms: Shape and dtype of each point.
        changed: Points that something changed in place before they were added to what goes past them.
    """

    def __init__(self, network: fx.GraphModule, points: frozenset[fx.Node], sums: Mapping[fx.Node, fx.Node]) -> None:
        """Look at nothing yet; `sums` are the first sums on ways past blocks, with the points where they begin."""
        super().__init__(network)
        self.forms: dict[fx.Node, Any] = {}
        self.changed: set[fx.Node] = set()
        self._points, self._sums, self._entries = points, sums, frozenset(sums.values())
        self._held: dict[fx.Node, tuple[torch.Tensor, int]] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Compute one node."""
        entry = self._sums.get(n)
        if entry is not None:
            held, version = self._held.pop(entry)
            if held._version != version:
                self.changed.add(entry)
        value = super().run_node(n)
        if n in self._points:
            self.forms[n] = value.shape, value.dtype
        if n in self._entries:
            self._held[n] = value, value._version
        return value


def _first_sum(network: fx.GraphModule, entry: fx.Node, end: fx.Node) -> fx.Node | None:
    """Return the first sum on a way from `entry` to `end` on which things are only added; None without such a way."""
    first: dict[fx.Node, fx.Node | None] = {entry: None}
    for node in _between(entry, end):
        summed = _operator(network, node) in SUMS
        if summed or _passes_on(network, node):
            # a sum may weigh its second term
            terms = node.args[: 2 if summed and not node.kwargs else 1]
            carried = next((term for term in terms if isinstance(term, fx.Node) and term in first), None)
            if carried is not None:
                first[node] = first[carried] or (node if summed else None)
    return first.get(end)


def _end(network: fx.GraphModule, points: Sequence[fx.Node], at: int) -> fx.Node:
    """Return where a block ends whose sum is `points[at]`: behind an operator like the one in front of the block."""
    before = at - 1
    while before and _passes_on(network, points[before]):
        before -= 1
    wanted = _operator(network, points[before])
    if not _is_layer(network, points[before]):
        for end in points[at:]:
            if _operator(network, end) == wanted:
                return end
            if end is not points[at] and not _passes_on(network, end):
                break
    return points[at]


def _layers(network: fx.GraphModule, entry: fx.Node, end: fx.Node, gone: set[fx.Node]) -> tuple[str, ...]:
    """Return the layers that go with a block, none where some of them run elsewhere or are needed behind it."""
    inside = set(_between(entry, end))
    calls, names = [node for node in network.graph.nodes if _is_layer(network, node)], first_names(network)
    found = {_module(network, node): names[str(node.target)] for node in calls if node in inside}
    alone = all((node in gone) == (_module(network, node) in found) for node in calls)
    return tuple(found.values()) if alone else ()


def _role(network: fx.GraphModule, layers: Sequence[str], gone: set[fx.Node]) -> str:
    if any(_operator(network, node).lstrip("_") in ATTENTION for node in gone):
        return "attention block"
    linear = all(kind_of(network.get_submodule(layer)) == "linear" for layer in layers)
    return "feed-forward block" if linear else "block"


def _name(layers: Sequence[str], taken: set[str]) -> str:
    parts = [layer.split(".") for layer in layers]
    differ = (i for i, same in enumerate(zip(*parts, strict=False)) if len(set(same)) > 1)
    shared = parts[0][: next(differ, min(map(len, parts)))]
    name = ".".join(shared) or layers[0]
    count = 2
    found = name
    while found in taken:
        found, count = f"{name}#{count}", count + 1
    return found


def _between(entry: fx.Node, end: fx.Node) -> list[fx.Node]:
    """Return the nodes behind `entry`, up to `end`."""
    found, node = [], entry
    while node is not end:
        node = node.next
        found.append(node)
    return found


def _operator(network: fx.GraphModule, node: fx.Node) -> str:
    """Return the name of what a node does, the same for a module and an operator, in place or not."""
    if node.op == "call_module":
        return type(_module(network, node)).__name__.lower()
    return name_of(node).rstrip("_") if node.op in ("call_function", "call_method") else node.op


def _passes_on(network: fx.GraphModule, node: fx.Node) -> bool:
    operator = _operator(network, node)
    return operator in PASSED_ON or "dropout" in operator


def _is_layer(network: fx.GraphModule, node: fx.Node) -> bool:
    return node.op == "call_module" and kind_of(_module(network, node)) is not None


def _module(network: fx.GraphModule, node: fx.Node) -> torch.nn.Module:
    return network.get_submodule(str(node.target))


def _those_that_run(network: fx.GraphModule, blocks: Sequence[Block], example_input: Inputs) -> tuple[Block, ...]:
    """Return the blocks without which the network runs: all, or where they cannot go together, each that can alone."""
    if all(_runs_without(network, some, example_input) for some in (blocks, blocks[::2], blocks[1::2]) if some):
        return tuple(blocks)
    return tuple(block for block in blocks if _runs_without(network, [block], example_input))


@torch.no_grad()
def _runs_without(network: fx.GraphModule, blocks: Sequence[Block], example_input: Inputs) -> bool:
    student = copy.deepcopy(network)
    try:
        drop_blocks(student, blocks)
        for count in (1, 3):
            inputs = joined([example_input] * count)
            try:
                expected = call(network, inputs)
            except Exception:  # a network of a fixed batch
                continue
            found = call(student, inputs)
            if found.shape != expected.shape or not bool(torch.isfinite(found).all()):
                return False
    except Exception:  # whatever its operators say of what they get now
        return False
    return True
