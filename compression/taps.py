"""Taps: what lies within a network, given beside its output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from .places import Places
from .spelled_attention import attention_weights

HIDDEN = -1e4
"""Added to the score of a key that does not count, in place of minus infinity."""


@dataclass(frozen=True)
class Tapped:
    """What a network with taps gave of a batch.

    Attributes:
        outputs: [B, ...].
        streams: At each point; None where the network has it no more.
        attentions: Of each operator of attention, its weights averaged over heads, [B, ..., L, S]; None as above.
    """

    outputs: Any
    streams: tuple[Tensor | None, ...]
    attentions: tuple[Tensor | None, ...]


def tapped(module: fx.GraphModule, places: Places) -> fx.GraphModule:
    """Return the network over the same modules, parameters and buffers, with its taps; see `read_taps`.

    Move the module to its device before: then buffers are made anew, and the two would part.

    Args:
        module: The network. It is not changed.
        places: Where it is looked into.
    """
    graph, copies = fx.Graph(), dict[fx.Node, fx.Node]()
    output = graph.graph_copy(module.graph, copies)
    nodes = {node.name: node for node in module.graph.nodes}
    streams = tuple(copies[nodes[name]] if name else None for name in places.points)
    attentions = tuple(_weights(graph, nodes[name], copies) if name else None for name in places.attentions)
    graph.output((output, streams, attentions))
    return fx.GraphModule(module, graph)


def read_taps(given: Any) -> Tapped:
    """Return what a network of `tapped` gave, by name."""
    return Tapped(*given)


def mean_weights(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, *args: Any, **kwargs: Any
) -> Tensor:
    """Return the weights of an operator of attention, averaged over its heads where they are a dimension.

    Args are those of the operator. A query that sees no key at all, as those of padding may, gets numbers too.
    """
    if attn_mask is not None:
        hidden = ~attn_mask if attn_mask.dtype == torch.bool else attn_mask < HIDDEN
        added = torch.zeros_like(attn_mask, dtype=query.dtype) if attn_mask.dtype == torch.bool else attn_mask
        attn_mask = added.masked_fill(hidden, HIDDEN)
    weights = attention_weights(query, key, value, attn_mask, *args, **kwargs)
    return weights.mean(-3) if weights.ndim > 3 else weights


def _weights(graph: fx.Graph, node: fx.Node, copies: dict[fx.Node, fx.Node]) -> fx.Node:
    args: Any = fx.map_arg(node.args, copies.__getitem__)
    kwargs: Any = fx.map_arg(node.kwargs, copies.__getitem__)
    return graph.call_function(mean_weights, args, kwargs)
