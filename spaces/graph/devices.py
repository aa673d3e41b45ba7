"""A network moves to another device, with what its graph makes there."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_aggregate

N = TypeVar("N", bound=nn.Module)


def moved(module: N, device: torch.device | str) -> N:
    """Move a network to a device, in place, and return it.

    `nn.Module.to` moves parameters and buffers. A captured graph also holds tensors that are neither, and names the
    device of what it makes itself: positions and masks of a transformer, for example.

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
        if args != node.args or kwargs != node.kwargs:
            node.args, node.kwargs, changed = args, kwargs, True
    if changed:
        part.recompile()
