"""A transformer on paper: one embedding width that all residual additions share, then heads and widths by layer."""

from __future__ import annotations

from autocompress.spaces.context import SpaceContext
from autocompress.spaces.groups import Group
from autocompress.spaces.layers import Layer
from autocompress.spaces.target import Capabilities

from .landscape import paper_group
from .network import BITS

TOKENS = 196
EMBEDDING, HEADS, HEAD_WIDTH, WIDE = 768, 8, 96, 3072
STEP = 128
"""Of the embedding: 5 widths from a third up."""
HEADS_STEP, WIDE_STEP = 2, 768
"""Heads and feed-forward widths keep a multiple of these: 4 options each, from a quarter up."""
MIN_FRACTION = 0.25
CLASSES = 1000
SIDES = (("qkv", "in"), ("project", "out"), ("widen", "in"), ("narrow", "out"))
"""Where each layer reads the embedding, and where it writes it."""


def paper_transformer(decisions: int) -> SpaceContext:
    """Return a projection of patches, layers of attention and feed-forward, and a classifier.

    It has one embedding, a choice of heads and of a feed-forward width for each layer, and a choice of bits for each of
    four regions. Where that makes one decision too few, the classifier has a hidden layer, whose width is the last.

    Args:
        decisions: All of these together, 11 at least.
    """
    count, hidden = divmod(decisions - 5, 2)
    inner = EMBEDDING  # of attention, all heads together
    raw: list[tuple[str, int, int, int]] = [("patches", EMBEDDING, EMBEDDING, TOKENS)]
    stream = [("patches", "out")]
    for i in range(count):
        block = f"layer{i:02}"
        raw += [
            (f"{block}.qkv", EMBEDDING, 3 * inner, TOKENS),
            (f"{block}.project", inner, EMBEDDING, TOKENS),
            (f"{block}.widen", EMBEDDING, WIDE, TOKENS),
            (f"{block}.narrow", WIDE, EMBEDDING, TOKENS),
        ]
        stream += [(f"{block}.{name}", side) for name, side in SIDES]
    if hidden:
        raw.append(("hidden", EMBEDDING, EMBEDDING, 1))
    raw.append(("classifier", EMBEDDING, CLASSES, 1))
    stream.append(("hidden" if hidden else "classifier", "in"))
    last = len(raw) - 1
    layers = tuple(
        Layer(name, "linear", i / last, n * m, n * m * area, area, (m, n, 1, 1))
        for i, (name, n, m, area) in enumerate(raw)
    )
    depth = {layer.name: layer.depth for layer in layers}
    groups: list[Group] = [paper_group("patches", EMBEDDING, 0.0, "stream", tuple(stream))]
    for i in range(count):
        block = f"layer{i:02}"
        sides = ((f"{block}.qkv", "out"), (f"{block}.project", "in"))
        widths = (3 * HEAD_WIDTH, HEAD_WIDTH)
        groups.append(paper_group(sides[0][0], HEADS, depth[sides[0][0]], "inner", sides, HEADS_STEP, widths))
        sides = ((f"{block}.widen", "out"), (f"{block}.narrow", "in"))
        groups.append(paper_group(sides[0][0], WIDE, depth[sides[0][0]], "inner", sides, WIDE_STEP))
    if hidden:
        groups.append(
            paper_group("hidden", EMBEDDING, depth["hidden"], "inner", (("hidden", "out"), ("classifier", "in")))
        )
    capabilities = Capabilities(BITS, (), STEP)
    return SpaceContext(layers, tuple(sorted(groups, key=lambda g: g.depth)), capabilities, min_fraction=MIN_FRACTION)
