"""A space in plain values, for `autocompress space` and for the study's folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..spaces.axis import Number
from ..spaces.bits import BitsAxis
from ..spaces.channels import ChannelAxis
from ..spaces.groups import LeftOut
from ..spaces.space import Space
from ..spaces.target import Target
from .probe import Probe


def describe(space: Space, left_out: Sequence[LeftOut], target: Target, probe: Probe | None) -> dict[str, Any]:
    """Layers, groups with their channel counts, the numbers a sampler draws, and what was left out and why."""
    ground = space.ground
    choices = {group.name: counts for group, counts in ChannelAxis(ground).groups()}
    bits = BitsAxis(ground)
    regions = {layer.name: i for i, region in enumerate(bits.regions()) for layer in region}
    patterns = next((list(a.offered()) for a in space.axes if a.name == "pattern" and hasattr(a, "offered")), [])
    writers = {m.layer: g.name for g in ground.groups for m in g.members if m.side != "in"}
    missing = {(entry.name, entry.reason) for entry in (*left_out, *space.left_out())}
    return {
        "target": vars(target),
        "layers": [
            {
                "name": layer.name,
                "kind": layer.kind,
                "weight": list(layer.shape),
                "macs": layer.macs,
                "group": writers.get(layer.name),
                "bits_region": regions.get(layer.name),
                "bits": list(bits.offered()) if layer.name in regions else [32],
                "patterns": ["dense", *patterns],
            }
            for layer in ground.layers
        ],
        "groups": [
            {
                "name": group.name,
                "kind": group.kind,
                "channels": group.channels,
                "choices": list(choices.get(group.name, (group.channels,))),
                "layers": sorted({m.layer for m in group.members if m.layer in {x.name for x in ground.layers}}),
            }
            for group in ground.groups
        ],
        "numbers": {
            name: vars(p) if isinstance(p, Number) else {"options": list(p.options)}
            for name, p in space.latent().items()
        },
        "left_out": [{"name": name, "reason": reason} for name, reason in sorted(missing)],
        "probe": {
            kind: {"ratio_to_dense": ratio, "low": low, "high": high}
            for kind, (ratio, low, high) in (probe.pattern_ratios if probe else {}).items()
        },
    }
