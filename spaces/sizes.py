"""The sizes of inputs that a network can look at besides the full one."""

from __future__ import annotations

import copy
from dataclasses import replace

from torch import fx, nn

from .graph.interface import Interface
from .graph.resized import Resizing, find_resizing, resize, sizes_of
from .group import LeftOut
from .inputs import Inputs
from .layers import find_layers
from .recurrent import find_recurrent

WHAT = "size of inputs"


def find_sizes(
    model: nn.Module, graph: fx.GraphModule, example_input: Inputs, interface: Interface | None
) -> tuple[tuple[Resizing, ...], tuple[LeftOut, ...]]:
    """Try smaller inputs, each size by itself.

    Args:
        model: The network, in eval mode on the CPU. It is not changed.
        graph: What `capture` made of it.
        example_input: [1, ...], of each input, in full size.
        interface: As `capture` took it.

    Returns:
        The sizes that the network can look at, largest first, and why it cannot look at the others.
    """
    shapes = sizes_of(example_input)
    if not shapes:
        return (), (LeftOut(WHAT, "inputs are neither single images nor sequences of whole numbers"),)
    found: list[Resizing] = []
    reasons: dict[str, str] = {}
    for shape in shapes:
        resizing = find_resizing(model, graph, example_input, shape, interface)
        if isinstance(resizing, str):
            reasons.setdefault(resizing, f"{WHAT} {'x'.join(map(str, shape))}")
            continue
        smaller = copy.deepcopy(graph)
        resize(smaller, resizing)
        layers = (*find_layers(smaller, example_input), *find_recurrent(smaller, example_input)[0])
        areas = {layer.name: layer.area for layer in layers}
        found.append(replace(resizing, areas=areas))
    return tuple(found), tuple(LeftOut(what, reason) for reason, what in reasons.items())
