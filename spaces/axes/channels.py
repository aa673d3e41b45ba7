"""The axes `width` (the whole student) and `channels` (each group on top of it)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..groups import Group, LeftOut
from ..plan import Plan
from .base import Ground, Number, Parameter, Value


@dataclass(frozen=True)
class ChannelAxis:
    """How many channels each group keeps.

    A group at depth d keeps width * exp(slope * t + curve * (t^2 - 1/3) + inner * [the group is inside a block]
    + sensitivity * s) of its channels, t = 2 d - 1, snapped to the nearest count that the target likes; s says how
    sensitive the group is, -1 to 1, where that was measured. Five numbers describe networks of any depth; single
    groups are moved later, around the front.
    """

    ground: Ground
    profile: bool = True
    name: str = "width"

    def groups(self) -> tuple[tuple[Group, tuple[int, ...]], ...]:
        """The groups that have a choice, with their legal channel counts."""
        ground = self.ground
        found = []
        for group in ground.groups:
            choices = group.choices(ground.multiple(group), ground.min_fraction)
            kept = {m.layer for m in group.members if m.side != "in"} & ground.keep
            if len(choices) > 1 and not kept:
                found.append((group, choices))
        return tuple(found)

    def parameters(self) -> dict[str, Parameter]:
        groups = self.groups()
        if not groups:
            return {}
        low = min(choices[0] / group.channels for group, choices in groups)
        found: dict[str, Parameter] = {"width": Number(low, 1.0)}
        if self.profile and len(groups) > 1:
            found["width_slope"] = Number(-0.8, 0.8)
            if len(groups) > 3:
                found["width_curve"] = Number(-0.8, 0.8)
            if len({group.kind for group, _ in groups}) > 1:
                found["width_inner"] = Number(-0.8, 0.8)
            if len({self._sensitivity(group) for group, _ in groups}) > 1:
                found["width_sensitivity"] = Number(-0.8, 0.8)
        return found

    def apply(self, plan: Plan, values: Mapping[str, Value]) -> Plan:
        channels = {}
        for group, choices in self.groups():
            t = 2 * group.depth - 1
            exponent = float(values.get("width_slope", 0.0)) * t
            exponent += float(values.get("width_curve", 0.0)) * (t * t - 1 / 3)
            exponent += float(values.get("width_inner", 0.0)) * (group.kind == "inner")
            exponent += float(values.get("width_sensitivity", 0.0)) * self._sensitivity(group)
            wanted = group.channels * float(values["width"]) * math.exp(exponent)
            count = min(choices, key=lambda c: (abs(c - wanted), -c))
            if count < group.channels:
                channels[group.name] = count
        return replace(plan, channels=channels)

    def _sensitivity(self, group: Group) -> float:
        """-1 to 1; 0 where it is not known."""
        return (self.ground.sensitivity or {}).get(group.name, 0.0)

    def left_out(self) -> tuple[LeftOut, ...]:
        offered = {group.name for group, _ in self.groups()}
        found = []
        for group in self.ground.groups:
            if group.name not in offered:
                kept = sorted({m.layer for m in group.members} & self.ground.keep)
                step = self.ground.multiple(group)
                why = f"{group.channels} channels have no smaller count in steps of {step}"
                if kept:
                    why = f"kept as asked ({kept[0]})"
                found.append(LeftOut(group.name, why))
        return tuple(found)
