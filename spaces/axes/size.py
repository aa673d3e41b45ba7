"""The axis `size`: how large the images are that a student looks at, or how long its sequences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..context import SpaceContext
from ..groups import LeftOut
from ..spec import StudentSpec
from ..variables import Variable
from .base import AxisDefaults, Decision

FULL = 0
"""The size that inputs have."""


class SizeAxis(AxisDefaults):
    """One variable: the size that inputs are made smaller to at the beginning of a file, which takes full ones."""

    name = "size"

    def variables(self, context: SpaceContext) -> tuple[Variable, ...]:
        """Return one variable over all layers, where the network can look at smaller inputs."""
        if not context.resizings:
            return ()
        teacher = context.only("")  # students of the user's own look at all of their inputs
        layers = tuple(layer.name for layer in teacher.layers)
        full = {layer.name: layer.area for layer in (*teacher.layers, *teacher.recurrent, *teacher.float_recurrent)}
        areas = [resizing.areas for resizing in context.resizings]
        parts = [sum(area for name, area in each.items() if name in full) / sum(full.values()) for each in areas]
        options = (FULL, *(resizing.size for resizing in context.resizings))
        names = ((FULL, "full"),)
        return (Variable(self.name, "", "input", "ordered", options, (1.0, *parts), layers=layers, names=names),)

    def left_out(self, context: SpaceContext) -> tuple[LeftOut, ...]:
        """Return the sizes that the network cannot look at."""
        return context.no_sizes

    def apply(self, context: SpaceContext, spec: StudentSpec, decisions: Sequence[Decision]) -> StudentSpec:
        """Return `spec` with the size in it."""
        for _, size in decisions:
            spec = replace(spec, size=int(size))
        return spec
