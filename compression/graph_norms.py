"""Batch norms that stand in a network's graph as operators become modules, so that they learn as all others do.

A norm of another package, as timm's with an activation in it, is captured as the operator that it is in eval mode. Left
so, it would keep the statistics of its teacher for good, whatever becomes of the channels before it.
"""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..spaces.graph.operator_rules import name_of

LEARNED, SEEN = ("weight", "bias"), ("running_mean", "running_var")
"""What the operator reads behind its input, by the names that a batch norm has for it."""
TRAINS, MOMENTUM, EPSILON = 5, 6, 7
"""Of the operator's other arguments, which is which."""
N = TypeVar("N", bound=nn.Module)


class GraphNorm(_BatchNorm):
    """A batch norm over inputs of any number of dimensions, in the place of an operator.

    It counts the batches that it saw, as any other, and does not keep the count in its state: the names of weights and
    buffers are those that the graph had with the operator.
    """

    def __init__(self, held: nn.Module, momentum: float, eps: float) -> None:
        """Take the weights, the buffers and the parts of the module that held them for the operator."""
        parts: list[Any] = [getattr(held, name, None) for name in (*LEARNED, *SEEN)]
        weight, bias, mean, variance = parts
        assert isinstance(mean, Tensor)
        super().__init__(len(mean), eps, momentum or None, affine=False)
        self.affine, self.weight, self.bias = weight is not None, weight, bias
        self.running_mean, self.running_var = mean, variance
        self.register_buffer("num_batches_tracked", torch.zeros((), dtype=torch.long).to(mean.device), persistent=False)
        for name, part in held.named_children():
            self.add_module(name, part)

    def _check_input_dim(self, input: Tensor) -> None:
        """Take any number of dimensions, as the operator does."""

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        nn.Module._load_from_state_dict(self, *args, **kwargs)  # that of batch norms asks for the count


def norms_as_modules(network: N) -> N:
    """Put modules in the place of batch norms that are operators; nodes of the graph keep their names.

    Args:
        network: Captured, or any other, which is left alone. It is changed in place.

    Returns:
        The network, which answers as before.
    """
    if isinstance(network, fx.GraphModule):
        _replace_operators(network)
    return network


def _replace_operators(network: fx.GraphModule) -> None:
    found = {node: owner for node in network.graph.nodes if (owner := _owner(network, node))}
    read = dict.fromkeys(part for node in found for part in node.all_input_nodes if part.op == "get_attr")
    for node, owner in found.items():
        held = network.get_submodule(owner)
        if not isinstance(held, GraphNorm):  # one norm may run several times
            numbers: Any = node.args
            made = GraphNorm(held, float(numbers[MOMENTUM]), float(numbers[EPSILON]))
            network.set_submodule(owner, made.train(network.training))
        node.op, node.target, node.args = "call_module", owner, node.args[:1]
    for part in read:
        if not part.users:
            network.graph.erase_node(part)
    if found:
        network.graph.lint()
        network.recompile()


def _owner(network: fx.GraphModule, node: fx.Node) -> str:
    """Return the module that holds all that a batch norm in eval mode reads; empty for any other operator."""
    if node.op != "call_function" or name_of(node) != "batch_norm" or node.kwargs or len(node.args) <= EPSILON:
        return ""
    given: dict[str, Any] = dict(zip((*LEARNED, *SEEN), node.args[1:TRAINS], strict=True))
    if node.args[TRAINS] or any(given[name] is None for name in SEEN):
        return ""
    owners = set()
    for leaf, part in given.items():
        if part is None:
            continue
        if not isinstance(part, fx.Node) or part.op != "get_attr":
            return ""
        owner, _, own = str(part.target).rpartition(".")
        owners.add(owner if own == leaf else "")
    if len(owners) > 1 or "" in owners:
        return ""
    (owner,) = owners
    held = network.get_submodule(owner)
    learned = {name for name, _ in held.named_parameters(recurse=False)}
    seen = {name for name, _ in held.named_buffers(recurse=False)}
    return owner if type(held) is nn.Module and learned <= set(LEARNED) and seen == set(SEEN) else ""
