"""Latent numbers for plans that no numbers were drawn for, so that samplers learn of what was tried."""

from __future__ import annotations

from collections.abc import Mapping

from ...spaces.axes.base import Number, Value
from ...spaces.axes.bits import BitsAxis
from ...spaces.axes.channels import ChannelAxis
from ...spaces.axes.recovery import RecoveryAxis
from ...spaces.plan import Plan
from ...spaces.space import Space


def redescribed(space: Space, latent: Mapping[str, Value] | None, plan: Plan) -> dict[str, Value] | None:
    """Latent numbers for a plan that was made by a move, so that a sampler learns of what was tried.

    Bits and recovery are told as they are; of the channels, which no few numbers describe exactly, the width is scaled
    by what the move did to the channels kept in all.
    """
    if latent is None or "budget_ms" in latent:
        return None  # of a budget and its prices, which say nothing of a plan next to theirs
    names = space.latent()
    # a number that came with a later version stands for no change where it was not told
    told = {name: value for name, value in {"width_sensitivity": 0.0, **latent}.items() if name in names}
    if len(told) < len(names):
        return None  # of an earlier run of the study, whose space was another
    found = dict(told)
    if "target" in found:
        found["target"] = plan.target
    for axis in space.axes:
        if isinstance(axis, BitsAxis):
            regions = [r for r in enumerate(axis.regions()) if r[1]]
            found |= {f"bits_{i}": str(plan.bits.get(region[0].name, 32)) for i, region in regions}
        elif isinstance(axis, RecoveryAxis) and plan.recovery is not None:
            values = vars(plan.recovery)
            found |= {name: values[name] for name in axis.parameters() if name in values}
            if "quantization" in found:
                found["quantization"] = "aware" if plan.recovery.quantization_aware else "post_training"
        elif isinstance(axis, ChannelAxis) and "width" in found:
            before = space.decode(told).channels
            groups = [group for group, _ in axis.groups()]
            kept = [sum(c.get(g.name, g.channels) for g in groups) for c in (before, plan.channels)]
            width = axis.parameters()["width"]
            assert isinstance(width, Number)
            found["width"] = min(width.high, max(width.low, float(found["width"]) * kept[1] / kept[0]))
    return found
