"""The axis `channels`: how many channels each group keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..context import SpaceContext
from ..groups import Group, LeftOut
from ..presence import first_where_absent, groups_of_others
from ..roles import group_roles
from ..spec import StudentSpec
from ..variables import Variable
from .base import AxisDefaults, Decision


class ChannelsAxis(AxisDefaults):
    """One variable for each group that can shrink; its options are channel counts, the full count first."""

    name = "channels"

    def variables(self, context: SpaceContext) -> tuple[Variable, ...]:
        """Return a variable for each group with more than one legal count, in order of execution."""
        roles: dict[str, str] = {}
        for part in context.parts():
            roles |= group_roles(part.layers, part.groups)
        depths = {layer.name: layer.depth for layer in context.layers}
        found = []
        for group in context.groups:
            counts = _counts(context, group)
            if len(counts) > 1:
                touched = sorted({m.layer for m in group.members} & depths.keys(), key=depths.__getitem__)
                found.append(
                    Variable(
                        axis=self.name,
                        subject=group.name,
                        role=roles[group.name],
                        kind="ordered",
                        options=counts,
                        parts=tuple(count / group.channels for count in counts),
                        layers=tuple(touched),
                        depth=group.depth,
                    )
                )
        return tuple(found)

    def left_out(self, context: SpaceContext) -> tuple[LeftOut, ...]:
        """Return the groups that keep all channels: those the user keeps, and those without a smaller count."""
        found = []
        for group in context.groups:
            if kept := _kept(context, group):
                found.append(LeftOut(group.name, f"kept as asked ({kept[0]})"))
            elif len(_counts(context, group)) == 1:
                step = context.channel_multiple(group)
                found.append(LeftOut(group.name, f"{group.channels} channels have no smaller count in steps of {step}"))
        return tuple(found)

    def repair(self, context: SpaceContext, spec: StudentSpec, decisions: Sequence[Decision]) -> Sequence[Decision]:
        """Return `decisions`, with all channels of groups that the student lacks, as those of embeddings beside it."""
        others = groups_of_others(context, spec)
        there = first_where_absent(context, spec, decisions)
        return [(v, v.options[0] if v.subject in others else option) for v, option in there]

    def apply(self, context: SpaceContext, spec: StudentSpec, decisions: Sequence[Decision]) -> StudentSpec:
        """Return `spec` with the counts of groups that shrink."""
        counts = {variable.subject: int(option) for variable, option in decisions}
        return replace(spec, channels={**spec.channels, **counts})


def _counts(context: SpaceContext, group: Group) -> tuple[int, ...]:
    """Return the counts that a group may have, the full count first."""
    if _kept(context, group):
        return (group.channels,)
    return group.choices(context.channel_multiple(group), context.min_fraction)[::-1]


def _kept(context: SpaceContext, group: Group) -> list[str]:
    """Return the layers of this group whose outputs the user wants left as they are."""
    return sorted({m.layer for m in group.members if m.side != "in"} & context.keep)
