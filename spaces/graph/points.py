"""The points of a network's main stream: values that everything it has learned of its inputs goes through."""

from __future__ import annotations

import operator
from typing import Any

from torch import fx, nn

from .operator_rules import name_of

SIZES = frozenset({"sym_size", "sym_numel", "sym_stride", "size"})
"""Operators that tell how large a tensor is, and nothing of what stands in it."""


def find_points(module: fx.GraphModule) -> tuple[fx.Node, ...]:
    """Return the nodes that every path from the inputs to the output goes through, in order of execution.

    Only paths of what was learned count: a node is on one when it depends on an input and on a weight, and the output
    depends on it. So a mask that each layer of a transformer reads leaves its stream in one piece. Residual sums, the
    embedding of a transformer and each activation of a plain chain are points; what lies beside a shortcut is none.

    One sweep finds them: a node is a point when nothing before it is used by anything after it.

    Args:
        module: The network, as it was captured; a student of it too.
    """
    learned = learned_nodes(module)
    stream = [node for node in module.graph.nodes if node in learned]
    index = {node: i for i, node in enumerate(stream)}
    # each node that begins a path is used, as it were, from before the first
    furthest = max((i for i, node in enumerate(stream) if not any(a in index for a in node.all_input_nodes)), default=0)
    found = []
    for i, node in enumerate(stream):
        if furthest <= i and not _several(node):
            found.append(node)
        furthest = max([furthest, *(index[user] for user in node.users if user in index)])
    return tuple(found)


def learned_nodes(module: fx.GraphModule) -> set[fx.Node]:
    """Return the nodes that depend on an input and on a weight, and that the output depends on.

    Args:
        module: The network, as it was captured.
    """
    of_input: set[fx.Node] = set()
    learned: set[fx.Node] = set()
    for node in module.graph.nodes:
        before = node.all_input_nodes
        if node.op == "placeholder" or (not _is_size(node) and any(a in of_input for a in before)):
            of_input.add(node)
        if node in of_input and (any(a in learned or _is_weight(module, a) for a in before) or _weighs(module, node)):
            learned.add(node)
    used: set[fx.Node] = set()
    for node in reversed(module.graph.nodes):
        if node.op == "output" or any(user in used for user in node.users):
            used.add(node)
    return {node for node in learned & used if node.op != "output"}


def _is_size(node: fx.Node) -> bool:
    return node.op in ("call_function", "call_method") and name_of(node) in SIZES


def _weighs(module: fx.GraphModule, node: fx.Node) -> bool:
    if node.op != "call_module":
        return False
    return any(True for _ in module.get_submodule(str(node.target)).parameters())


def _is_weight(module: fx.GraphModule, node: fx.Node) -> bool:
    if node.op != "get_attr":
        return False
    owner, _, leaf = str(node.target).rpartition(".")
    value: Any = getattr(module.get_submodule(owner), leaf, None)
    return isinstance(value, nn.Parameter)


def _several(node: fx.Node) -> bool:
    """Whether a node gives several tensors at once, which are no value that can be looked at."""
    return any(user.target is operator.getitem for user in node.users)
