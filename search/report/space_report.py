"""A space in plain values, for `autocompress space` and for the study's folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...spaces.groups import LeftOut
from ...spaces.space import Space
from ...spaces.target import PerTarget, Target
from ...spaces.target_profile import BitsTime, ChannelTime, Ratio
from ...spaces.variables import Variable


def describe_space(
    space: Space,
    left_out: Sequence[LeftOut],
    targets: Sequence[Target],
    pattern_ratios: PerTarget[Mapping[str, Ratio]],
) -> dict[str, Any]:
    """Return layers, groups, blocks, variables with their options, and what was left out and why.

    Where the task brings students of the user's own, each of the former says which network it is in, the teacher's with
    an empty name. "everywhere" says whether a variable is about all layers of its network.

    Args:
        space: The space.
        left_out: The groups of the network that cannot shrink.
        targets: Of the study.
        pattern_ratios: For each target, latency of the teacher with each sparsity pattern over the dense one's.
    """
    context = space.context
    writers = {m.layer: g.name for g in context.groups for m in g.members if m.side != "in"}
    network = {n: {"network": net.name} for net in context.networks for n in (*net.layers, *net.groups, *net.blocks)}
    # embeddings and recurrent layers have decisions of their own
    whole = [[layer.name for layer in part.layers] for part in context.parts() if len(part.layers) > 1]
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
                "variables": [v.name for v in space.network if layer.name in v.layers],
                **network.get(layer.name, {}),
            }
            for layer in context.all_layers
        ],
        "groups": [
            {"name": g.name, "channels": g.channels, "kind": g.kind, **network.get(g.name, {})} for g in context.groups
        ],
        "blocks": [
            {"name": b.name, "layers": [*b.layers, *b.recurrent], **network.get(b.name, {})} for b in context.blocks
        ],
        "variables": [{**_variable(v), "everywhere": any(map(frozenset(v.layers).issuperset, whole))} for v in space],
        "left_out": [{"name": name, "reason": reason} for name, reason in sorted(missing)],
        "patterns": {
            target: {kind: _ratio(ratio) for kind, ratio in each.items()} for target, each in pattern_ratios.items()
        },
        "profile": None if context.profile is None else _profile(space),
    }


def _variable(variable: Variable) -> dict[str, Any]:
    bounds = variable.bounds
    return {
        "name": variable.name,
        "axis": variable.axis,
        "subject": variable.subject,
        "role": variable.role,
        "kind": variable.kind,
        "options": list(variable.options),
        "names": {str(option): name for option, name in variable.names},
        "range": None if bounds is None else [bounds.low, bounds.high, "log" if bounds.log else "linear"],
        "layers": list(variable.layers),
        "depth": variable.depth,
        "searched": variable.is_searched,
    }


def _profile(space: Space) -> dict[str, Any]:
    """Return what bits and channels were measured to win, by kind of layer, and the step of channels that follows.

    Ratios are of bits to 32 bits, and of fewer channels to `channels`. "offered" says whether some layer of the kind
    may have those bits: beside layers that gain, or where size counts, they are kept although they do not pay.
    """
    context, profile = space.context, space.context.profile
    assert profile is not None
    kind_of = {layer.name: layer.kind for layer in context.all_layers}
    kinds = sorted(set(kind_of.values()))
    offered = {(kind_of[name], o) for v in space.of("bits") for name in v.layers for o in v.options}
    return {
        "bits": [
            {"kind": t.kind, "bits": t.bits, **_time(t), "offered": (t.kind, t.bits) in offered}
            for t in profile.bits
            if t.kind in kinds
        ],
        "channels": [
            {"kind": t.kind, "bits": t.bits, "channels": t.channels, "step": t.step, **_time(t)}
            for t in profile.channels
            if t.kind in kinds
        ],
        "steps": {kind: profile.multiple(kind, context.capabilities) for kind in kinds},
        "declared": context.capabilities.channel_multiple,
    }


def _time(time: BitsTime | ChannelTime) -> dict[str, Any]:
    return {**_ratio(time.ratio), "verdict": time.verdict, "target": time.target}


def _ratio(ratio: Ratio) -> dict[str, Any]:
    return {"ratio": ratio.value, "low": ratio.low, "high": ratio.high, "disturbed": ratio.disturbed}
