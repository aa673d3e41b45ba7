"""Parameters that the code splits before it uses them become parameters of their own."""

from __future__ import annotations

import operator
from collections import Counter
from typing import Any

import torch
from torch import fx, nn

WEIGHT = "_weight"


def divide_parameters(network: fx.GraphModule) -> None:
    """Replace parameters that are only split along their first dimension by their parts, in place.

    Attention over two sequences splits its joint projection in this way. The part `i` of a parameter `x_weight` is
    called `x_i_weight`, that of any other parameter `x` is called `x_i`.

    Args:
        network: The captured network.
    """
    readers: dict[str, list[fx.Node]] = {}
    for node in network.graph.nodes:
        if node.op == "get_attr":
            readers.setdefault(str(node.target), []).append(node)
    shared = Counter(id(value) for _, value in network.named_parameters(remove_duplicate=False))
    for name, nodes in readers.items():
        owner, _, leaf = name.rpartition(".")
        holder = network.get_submodule(owner)
        value = getattr(holder, leaf, None)
        users = list(nodes[0].users)
        if not isinstance(value, nn.Parameter) or len(nodes) != 1 or len(users) != 1 or shared[id(value)] != 1:
            continue
        if not _is_split(users[0], value):
            continue
        parts = torch.split(value.detach(), users[0].args[1])  # type: ignore[arg-type]
        for i, part in enumerate(parts):
            stem, end = (leaf.removesuffix(WEIGHT), WEIGHT) if leaf.endswith(WEIGHT) else (leaf, "")
            own = f"{stem}_{i}{end}"
            setattr(holder, own, nn.Parameter(part.clone(), requires_grad=value.requires_grad))
            with network.graph.inserting_before(users[0]):
                made = network.graph.get_attr(f"{owner}.{own}".lstrip("."))
            for user in [user for user in users[0].users if user.args[1] == i]:
                user.replace_all_uses_with(made)
                network.graph.erase_node(user)
        delattr(holder, leaf)
        network.graph.erase_node(users[0])
        network.graph.erase_node(nodes[0])
    network.graph.eliminate_dead_code()


def _is_split(node: fx.Node, value: nn.Parameter) -> bool:
    """Tell whether a node splits a parameter along its first dimension, into parts that are used one by one."""
    if getattr(node.target, "_opname", "") != "split_with_sizes":
        return False
    sizes: Any = node.args[1]
    dim = node.args[2] if len(node.args) > 2 else node.kwargs.get("dim", 0)
    if dim != 0 or not all(isinstance(size, int) for size in sizes) or sum(sizes) != len(value):
        return False
    return all(user.target is operator.getitem for user in node.users)
