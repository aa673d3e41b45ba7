"""The axis `width`: one width for the whole student."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..context import SpaceContext
from ..presence import absent_layers, groups_of_others
from ..spec import StudentSpec
from ..variables import Variable
from .base import AxisDefaults, Decision
from .channels import ChannelsAxis

STEPS = 16
"""The width goes down in steps of a sixteenth."""


class WidthAxis(AxisDefaults):
    """One variable: the part of its channels that every group keeps, in place of a count for each group."""

    name = "width"

    def variables(self, context: SpaceContext) -> tuple[Variable, ...]:
        """Return one variable over all groups that can shrink; none beside the axis `channels`."""
        groups = ChannelsAxis().variables(context)
        if not groups or ChannelsAxis.name in context.axes:
            return ()
        least = min(variable.parts[-1] for variable in groups)
        widths = tuple(i / STEPS for i in range(STEPS, 0, -1) if i / STEPS >= least)
        touched = {name for variable in groups for name in variable.layers}
        layers = tuple(layer.name for layer in context.layers if layer.name in touched)
        return (Variable(self.name, "", "all groups", "ordered", widths, widths, layers=layers),)

    def apply(self, context: SpaceContext, spec: StudentSpec, decisions: Sequence[Decision]) -> StudentSpec:
        """Return `spec` with the nearest legal count of every group."""
        counts = dict(spec.channels)
        gone, others = absent_layers(context, spec), groups_of_others(context, spec)
        for _, width in decisions:
            for group in ChannelsAxis().variables(context):
                if group.subject in others or (group.layers and gone.issuperset(group.layers)):
                    continue
                full = int(group.options[0])
                at = min(range(len(group.parts)), key=lambda i: abs(group.parts[i] - float(width)))
                if int(group.options[at]) < full:
                    counts[group.subject] = int(group.options[at])
        return replace(spec, channels=counts)
