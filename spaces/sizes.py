"""The sizes of inputs that a network can look at besides the full one."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import fx, nn

from .graph.interface import Interface
from .graph.resized import Resizing, changed_numbers, find_resizing, resize, sizes_of
from .graph.shrink import Number
from .group import Group, LeftOut
from .groups import find_groups
from .inputs import Inputs
from .layers import find_layers
from .recurrent import find_recurrent

WHAT = "size of inputs"
OTHER_CHANNELS = "with smaller inputs other channels of it go together than with full ones"


def find_sizes(
    model: nn.Module,
    graph: fx.GraphModule,
    example_input: Inputs,
    interface: Interface | None,
    groups: Sequence[Group] = (),
) -> tuple[tuple[Resizing, ...], tuple[LeftOut, ...]]:
    """Try smaller inputs, each size by itself.

    Args:
        model: The network, in eval mode on the CPU. It is not changed.
        graph: What `capture` made of it.
        example_input: [1, ...], of each input, in full size.
        interface: As `capture` took it.
        groups: The groups of channels of the graph that may be removed with the size changed.

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
        what = f"{WHAT} {'x'.join(map(str, shape))}"
        if isinstance(resizing, str):
            reasons.setdefault(resizing, what)
            continue
        smaller = copy.deepcopy(graph)
        resize(smaller, resizing)
        falls = _falls(smaller, changed_numbers(graph, resizing), groups, example_input)
        if falls is None:
            reasons.setdefault(OTHER_CHANNELS, what)
            continue
        layers = (*find_layers(smaller, example_input), *find_recurrent(smaller, example_input)[0])
        areas = {layer.name: layer.area for layer in layers}
        found.append(replace(resizing, areas=areas, falls=falls))
    return tuple(found), tuple(LeftOut(what, reason) for reason, what in reasons.items())


def groups_at(groups: Sequence[Group], resizing: Resizing) -> tuple[Group, ...]:
    """Return a network's groups as they are where it looks at smaller inputs.

    Args:
        groups: As they were found in full size.
        resizing: How it differs; found with these groups.
    """
    return tuple(replace(group, numbers=resizing.falls.get(group.name, group.numbers)) for group in groups)


def _falls(
    smaller: fx.GraphModule, changed: frozenset[Number], groups: Sequence[Group], example_input: Inputs
) -> Mapping[str, Mapping[Number, tuple[int, ...]]] | None:
    """Return how numbers fall with channels that hold positions too; None where other channels go together.

    Mostly there are none: then nothing is looked for.
    """
    touched = [group for group in groups if not changed.isdisjoint(group.numbers)]
    if not touched:
        return {}
    again, _ = find_groups(smaller, example_input, {})
    numbers = {(group.members, group.blocks): group.numbers for group in again}
    if any((group.members, group.blocks) not in numbers for group in touched):
        return None
    return {group.name: numbers[group.members, group.blocks] for group in touched}
