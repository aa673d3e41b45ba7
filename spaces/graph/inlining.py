"""Blocks that torch.export keeps apart, such as code under `no_grad`, become part of the graph around them."""

from __future__ import annotations

import operator
from typing import Any

from torch import fx

WRAPPERS = ("wrap_with_set_grad_enabled", "wrap_with_autocast")


def inline_blocks(network: fx.GraphModule) -> None:
    """Put the operators of blocks into the graph that calls them, in place."""
    for node in list(network.graph.nodes):
        name = getattr(node.target, "_name", "") or getattr(node.target, "__name__", "")
        if node.op != "call_function" or name not in WRAPPERS:
            continue
        at = next(i for i, a in enumerate(node.args) if isinstance(a, fx.Node) and a.op == "get_attr")
        block: Any = getattr(network, str(node.args[at].target))
        inline_blocks(block)
        with network.graph.inserting_before(node):
            found = _copied(network.graph, block.graph, list(node.args[at + 1 :]))
        for user in list(node.users):
            if user.target is operator.getitem:
                user.replace_all_uses_with(found[user.args[1]])
                network.graph.erase_node(user)
        if not isinstance(found, list | tuple):
            node.replace_all_uses_with(found)
        block_node = node.args[at]
        network.graph.erase_node(node)
        if not block_node.users:
            network.graph.erase_node(block_node)


def _copied(graph: fx.Graph, block: fx.Graph, arguments: list[Any]) -> Any:
    known: dict[fx.Node, Any] = {}
    given = iter(arguments)
    for node in block.nodes:
        if node.op == "placeholder":
            known[node] = next(given)
        elif node.op == "output":
            return fx.map_arg(node.args[0], lambda n: known[n])
        else:
            known[node] = graph.node_copy(node, lambda n: known[n])
    raise AssertionError("every graph has an output")
