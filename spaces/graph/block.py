"""A block: a part of a network that can go as a whole, and how blocks are dropped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import fx


@dataclass(frozen=True)
class Block:
    """A part of a network that a shortcut leads past. Without it, what goes into it takes the place of its result.

    Attributes:
        name: What the names of its layers have in common, such as "layer1.1"; unique within the network.
        entry: Name of the node that goes into it.
        exit: Name of the node that is its result.
        layers: Its layers, in order of execution. They run nowhere else.
        role: "attention block", "feed-forward block" (linear layers alone) or "block".
        depth: The mean place of its layers, 0 at the input and 1 at the output.
        recurrent: Its recurrent layers whose bits can be chosen.
    """

    name: str
    entry: str
    exit: str
    layers: tuple[str, ...]
    role: str
    depth: float
    recurrent: tuple[str, ...] = ()


def drop_blocks(network: fx.GraphModule, blocks: Sequence[Block]) -> None:
    """Take blocks out of a network in place, with all that nothing else needs.

    Args:
        network: The captured network that they were found in, or a copy.
        blocks: In order of execution.
    """
    named = {node.name: node for node in network.graph.nodes}
    past = {named[block.exit]: named[block.entry] for block in blocks}
    gone = nodes_gone(network.graph, past)
    # from the back: what goes into a block may be the result of another one that goes
    for end, entry in reversed(past.items()):
        end.replace_all_uses_with(entry)
    for node in reversed(network.graph.nodes):
        if node in gone:
            network.graph.erase_node(node)
    _delete_attributes(network, {str(node.target) for node in gone if node.op == "get_attr"})
    network.delete_all_unused_submodules()
    network.graph.lint()
    network.recompile()


def nodes_gone(graph: fx.Graph, past: Mapping[fx.Node, fx.Node]) -> set[fx.Node]:
    """Return the nodes that nothing needs any more when each of these results is replaced.

    Operators in place whose result nothing uses count as needed, but where what they change is gone.

    Args:
        graph: It is not changed.
        past: Result of a block -> what takes its place.
    """
    before, after = _needed(graph, {}), _needed(graph, past)
    gone = before - after
    for node in graph.nodes:
        if node not in before and any(source in gone for source in node.all_input_nodes):
            gone.add(node)
    return gone


def _needed(graph: fx.Graph, past: Mapping[fx.Node, fx.Node]) -> set[fx.Node]:
    found: set[fx.Node] = set()
    for node in reversed(graph.nodes):
        if node.op in ("output", "placeholder") or node in found:
            found.add(node)
            for source in node.all_input_nodes:
                while source in past:
                    source = past[source]
                found.add(source)
    return found


def _delete_attributes(network: fx.GraphModule, names: set[str]) -> None:
    """Delete parameters and buffers that no operator reads any more."""
    for name in names - {str(node.target) for node in network.graph.nodes if node.op == "get_attr"}:
        owner, _, leaf = name.rpartition(".")
        delattr(network.get_submodule(owner), leaf)
