"""Inputs and buffers that a network changes in place: its graph changes copies, and answers alike at each call."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

from torch import fx

UNCHANGED = "detach_"
"""An operator that says it writes, and changes no number."""
HANDED_ON = ("dropout", "type_as")
"""Operators that may give what they get, and do not say so."""


def changed_inputs(graph: fx.Graph) -> list[fx.Node]:
    """Return the placeholders of a graph of ATen operators in whose memory some operator writes, in their order.

    Args:
        graph: As torch.export makes it.
    """
    behind: dict[fx.Node, set[fx.Node]] = {}  # node -> the placeholders whose memory it may have
    found: set[fx.Node] = set()
    for node in graph.nodes:
        behind[node] = {node} if node.op == "placeholder" else set()
        for given, writes in _shared(node) if node.op == "call_function" else ():
            behind[node] |= behind[given]
            found |= behind[given] if writes else set()
    return [node for node in graph.nodes if node in found]


def _shared(node: fx.Node) -> Iterator[tuple[fx.Node, bool]]:
    """Yield what an operator reads whose memory its result may have, and whether it writes there."""
    schema: Any = getattr(node.target, "_schema", None)
    if node.target is operator.getitem or any(name in str(node.target) for name in HANDED_ON):
        yield from ((given, False) for given in node.all_input_nodes[:1])
    for argument, given in zip(schema.arguments if schema else (), node.args, strict=False):
        if argument.alias_info is not None:
            writes = argument.alias_info.is_write and UNCHANGED not in str(node.target)
            several = given if isinstance(given, list | tuple) else (given,)
            yield from ((one, writes) for one in several if isinstance(one, fx.Node))
