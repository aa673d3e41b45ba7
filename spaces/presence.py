"""Presence: what of a space's layers a student has, where it is cut from one of several networks or lacks blocks."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from .context import NamedNetwork, SpaceContext
from .graph.block import Block
from .spec import StudentSpec
from .variables import Option, Variable


def absent_layers(context: SpaceContext, spec: StudentSpec) -> frozenset[str]:
    """Return the layers that a student lacks.

    Args:
        context: What its space stands on.
        spec: What becomes of the teacher.
    """
    gone = _layers_of(context.blocks, spec.dropped) if spec.dropped else frozenset()
    return gone | _layers_of_others(context.networks, spec.student) if context.networks else gone


def groups_of_others(context: SpaceContext, spec: StudentSpec) -> frozenset[str]:
    """Return the groups of channels of networks that a student is not cut from; some touch no layer.

    Args:
        context: What its space stands on.
        spec: What becomes of the teacher.
    """
    return frozenset(name for net in context.networks if net.name != spec.student for name in net.groups)


def first_where_absent(
    context: SpaceContext, spec: StudentSpec, decisions: Sequence[tuple[Variable, Option]]
) -> Sequence[tuple[Variable, Option]]:
    """Return `decisions`, with the first option at variables all of whose layers are gone: a student has one plan.

    Args:
        context: What the space stands on.
        spec: What the axes of earlier stages decided.
        decisions: Variables, each with an option.
    """
    gone = absent_layers(context, spec)
    if not gone:
        return decisions
    return [(v, v.options[0] if v.layers and gone.issuperset(v.layers) else option) for v, option in decisions]


@functools.lru_cache(maxsize=4096)
def _layers_of(blocks: tuple[Block, ...], dropped: tuple[str, ...]) -> frozenset[str]:
    return frozenset(layer for block in blocks if block.name in dropped for layer in (*block.layers, *block.recurrent))


@functools.lru_cache(maxsize=256)
def _layers_of_others(networks: tuple[NamedNetwork, ...], student: str) -> frozenset[str]:
    return frozenset(layer for network in networks if network.name != student for layer in network.layers)
