"""A captured network in single precision, whatever format its weights had."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx
from torch.fx.node import map_aggregate

OTHERS = (torch.bfloat16, torch.float16, torch.float64)


def in_single_precision(graph: fx.GraphModule) -> fx.GraphModule:
    """Turn weights, buffers and casts between floating formats into float32. The graph is changed in place.

    Args:
        graph: A captured network.

    Returns:
        The graph.
    """
    graph.float()
    for node in graph.graph.nodes:
        node.args = map_aggregate(node.args, _single)
        node.kwargs = map_aggregate(node.kwargs, _single)
    graph.recompile()
    return graph


def _single(argument: Any) -> Any:
    return torch.float32 if isinstance(argument, torch.dtype) and argument in OTHERS else argument
