"""What follows from parameters alone is computed once, before a network is written into a file."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import fx, nn


@torch.no_grad()
def folded(network: nn.Module) -> nn.Module:
    """Return a copy in which weights that the forward pass computes from parameters are constants.

    Runtimes need not compute them in each run, nor in their own way.

    Args:
        network: A captured network; another one is returned as it is.
    """
    if not isinstance(network, fx.GraphModule):
        return network
    made = copy.deepcopy(network)
    known: dict[fx.Node, Any] = {}
    for node in list(made.graph.nodes):
        if node.op == "get_attr":
            known[node] = _attribute(made, str(node.target))
        elif node.op == "call_function" and node.all_input_nodes and all(a in known for a in node.all_input_nodes):
            args, kwargs = fx.map_arg((node.args, dict(node.kwargs)), lambda n: known[n])
            known[node] = node.target(*args, **kwargs)
    for number, (node, value) in enumerate(known.items()):
        used = any(user not in known for user in node.users)
        if node.op == "get_attr" or not used or not isinstance(value, torch.Tensor):
            continue
        made.register_buffer(f"folded_{number}", value.clone())
        with made.graph.inserting_before(node):
            node.replace_all_uses_with(made.graph.get_attr(f"folded_{number}"))
    made.graph.eliminate_dead_code()
    made.recompile()
    return made


def _attribute(network: fx.GraphModule, name: str) -> Any:
    owner, _, leaf = name.rpartition(".")
    value = getattr(network.get_submodule(owner), leaf)
    return value.clone() if isinstance(value, torch.Tensor) else value
