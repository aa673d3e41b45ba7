"""Roles: the part that a group of channels plays in its network, told from what writes it and what reads it."""

from __future__ import annotations

from collections.abc import Sequence

from .groups import Group
from .layers import Layer


def group_roles(layers: Sequence[Layer], groups: Sequence[Group]) -> dict[str, str]:
    """Return the role of each group, by the group's name.

    Roles are "stream 1", "stream 2", ... (the residual stream of a stage, in order of depth), "embedding" (a stream
    that linear layers write for every token), "stem" (the first layer's outputs, where no stream holds them),
    "heads" (whole heads of attention: each is several numbers wide where it is written and where it is read),
    "depthwise" (around a depthwise convolution), "feed-forward" (between two linear layers, for every token),
    "classifier" (between linear layers behind the last map), and "inner" (inside a block, or in a plain chain).
    """
    known = {layer.name: layer for layer in layers}
    first = layers[0].name if layers else ""
    stage = 0
    roles: dict[str, str] = {}
    for group in sorted(groups, key=lambda g: g.depth):
        wide = [m for m in group.members if len(m.pairs) > group.channels and m.side != "both"]
        members = [(known[m.layer], m.side) for m in group.members if m.layer in known]
        writers = [layer for layer, side in members if side != "in"]
        linear = bool(writers) and all(layer.kind == "linear" for layer in writers)
        tokens = linear and any(layer.area > 1 for layer in writers)
        if group.kind == "stream":
            stage += not tokens
            roles[group.name] = "embedding" if tokens else f"stream {stage}"
        elif {m.side for m in wide} == {"in", "out"}:
            roles[group.name] = "heads"
        elif any(layer.kind == "depthwise" for layer, _ in members):
            roles[group.name] = "depthwise"
        elif any(layer.name == first for layer in writers) and not linear:
            roles[group.name] = "stem"
        elif linear:
            roles[group.name] = "feed-forward" if tokens else "classifier"
        else:
            roles[group.name] = "inner"
    return roles
