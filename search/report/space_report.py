"""A space in plain values, for `autocompress space` and for the study's folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...spaces.axes.base import Ground, Number
from ...spaces.axes.bits import BitsAxis
from ...spaces.axes.channels import ChannelAxis
from ...spaces.groups import LeftOut
from ...spaces.space import Space
from ...spaces.target import Target
from ...spaces.target_profile import BitsTime, ChannelTime, Knobs
from ..prepare.probe import Probe


def describe(
    space: Space, left_out: Sequence[LeftOut], targets: Sequence[Target], probes: Mapping[str, Probe]
) -> dict[str, Any]:
    """Layers, groups with their channel counts, the numbers a sampler draws, and what was left out and why. probes:
    what was measured on the targets, by their names."""
    ground = space.ground
    choices = {group.name: counts for group, counts in ChannelAxis(ground).groups()}
    bits = BitsAxis(ground)
    regions = {layer.name: i for i, region in enumerate(bits.regions()) for layer in region}
    patterns = next((list(a.offered()) for a in space.axes if a.name == "pattern" and hasattr(a, "offered")), [])
    writers = {m.layer: g.name for g in ground.groups for m in g.members if m.side != "in"}
    missing = {(entry.name, entry.reason) for entry in (*left_out, *space.left_out())}
    return {
        "targets": [vars(target) for target in targets],
        "layers": [
            {
                "name": layer.name,
                "kind": layer.kind,
                "weight": list(layer.shape),
                "macs": layer.macs,
                "group": writers.get(layer.name),
                "bits_region": regions.get(layer.name),
                "bits": list(bits.offered_in(bits.regions()[regions[layer.name]])) if layer.name in regions else [32],
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
            name: {
                kind: {"ratio_to_dense": ratio, "low": low, "high": high}
                for kind, (ratio, low, high) in probe.pattern_ratios.items()
            }
            for name, probe in probes.items()
        },
        "knobs": None if ground.knobs is None else describe_knobs(ground),
    }


def patterns_probed(described: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Target -> pattern -> ratio to dense, of what `describe` said, now or in a version that knew one target."""
    probe: dict[str, Any] = described.get("probe", {})
    if any("ratio_to_dense" in entry for entry in probe.values()):
        return {described["target"]["runtime"]: probe}
    return probe


def describe_knobs(ground: Ground) -> dict[str, Any]:
    """What bits and channels were measured to win, by kind of layer, and the step of channels that follows for each.
    ratio: of bits to 32 bits; of fewer channels to `channels`. frozen: whether a region of such layers lost those bits
    by it; beside layers that gain, or where size counts, they are kept."""
    knobs = ground.knobs or Knobs()
    axis = BitsAxis(ground)
    frozen = {(layer.kind, b) for region in axis.regions() for b in axis.frozen(region) for layer in region}
    kinds = sorted({layer.kind for layer in ground.layers})

    return {
        "bits": [
            {"kind": t.kind, "bits": t.bits, **_ratio(t), "frozen": (t.kind, t.bits) in frozen}
            for t in knobs.bits
            if t.kind in kinds
        ],
        "channels": [
            {"kind": t.kind, "bits": t.bits, "channels": t.channels, "step": t.step, **_ratio(t)}
            for t in knobs.channels
            if t.kind in kinds
        ],
        "steps": {kind: knobs.multiple(kind, ground.capabilities) for kind in kinds},
        "declared": ground.capabilities.channel_multiple,
    }


def _ratio(time: BitsTime | ChannelTime) -> dict[str, Any]:
    r = time.ratio
    named = {"ratio": r.value, "low": r.low, "high": r.high, "disturbed": r.disturbed}
    return {**named, "verdict": time.verdict, "target": time.target}
