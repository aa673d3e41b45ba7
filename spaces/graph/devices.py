"""A network moves to another device, with what its graph makes there."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_aggregate

from ..recurrent import KINDS
from .operator_rules import name_of

N = TypeVar("N", bound=nn.Module)
ARGUMENTS, DROPOUT = 9, 5
"""Of an operator that runs a recurrent layer: how many it has, and which of them is its dropout; training follows."""


def moved(module: N, device: torch.device | str) -> N:
    """Move a network to a device, in place, and return it.

    `nn.Module.to` moves parameters and buffers. A captured graph also holds tensors that are neither, and names the
    device of what it makes itself: positions and masks of a transformer, for example. Recurrent layers in it are told
    to train on a GPU, where nothing learns from them otherwise (cuDNN), and not to drop anything meanwhile; elsewhere
    they are as they were captured, in eval mode.

    Args:
        module: The network, captured or not, or one with captured networks in it.
        device: Where it goes.
    """
    place = torch.device(device)
    module.to(place)
    for part in module.modules():
        for name, value in list(vars(part).items()):
            if isinstance(value, Tensor):
                setattr(part, name, value.to(place))
        if isinstance(part, fx.GraphModule):
            _move_graph(part, place)
    return module


def _move_graph(part: fx.GraphModule, place: torch.device) -> None:
    def there(argument: Any) -> Any:
        return place if isinstance(argument, torch.device) else argument

    changed = False
    for node in part.graph.nodes:
        args, kwargs = map_aggregate(node.args, there), map_aggregate(node.kwargs, there)
        if node.op == "call_function" and name_of(node) in KINDS and len(args) == ARGUMENTS:
            on_gpu = place.type == "cuda"
            args = (*args[:DROPOUT], 0.0 if on_gpu else args[DROPOUT], on_gpu, *args[DROPOUT + 2 :])
        if args != node.args or kwargs != node.kwargs:
            node.args, node.kwargs, changed = args, kwargs, True
    if changed:
        part.recompile()
