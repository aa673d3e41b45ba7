"""A space in which blocks can go and inputs can be smaller, without a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from synthetic_spaces import chain

from autocompress.spaces.context import SpaceContext
from autocompress.spaces.graph.block import Block
from autocompress.spaces.graph.resized import Resizing
from autocompress.spaces.space import Space, build_space

AXES = ("depth", "size", "channels", "bits", "recovery")
BLOCKS = {"b1": ("c2", "c3"), "b2": ("c5",), "b3": ("c6",)}
"""Block -> its layers. The last one stays."""


def shallow_context() -> SpaceContext:
    """Eight convolutions in a chain, and inputs of 28 or 16 pixels in place of 32."""
    context = chain([32] * 8).context
    blocks = (Block(name, name, name, layers, "block", 0.5) for name, layers in BLOCKS.items())
    sizes = (
        Resizing(side, (side, side), (32, 32), areas={la.name: la.area * side**2 // 1024 for la in context.layers})
        for side in (28, 16)
    )
    return replace(context, blocks=tuple(blocks), resizings=tuple(sizes), axes=AXES)


def shallow_space(axes: Sequence[str] = AXES) -> Space:
    return build_space(shallow_context(), axes)
