"""The axis `activations`: SiLU and GELU are kept, or replaced by Hardswish or ReLU, which many targets run faster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from autocompress.spaces.axes.base import AxisDefaults, Decision
from autocompress.spaces.context import SpaceContext
from autocompress.spaces.groups import LeftOut
from autocompress.spaces.spec import StudentSpec
from autocompress.spaces.variables import Variable

COSTLY = ("SiLU", "GELU")
CHEAPER = ("Hardswish", "ReLU")
KEPT = "kept"


class ActivationsAxis(AxisDefaults):
    """One variable for each sort of costly activation in the network."""

    name = "activations"

    def variables(self, context: SpaceContext) -> tuple[Variable, ...]:
        """Return a variable for SiLU and one for GELU, where the network has them as modules."""
        found = []
        for kind in COSTLY:
            depths = [module.depth for module in context.modules if module.type == kind]
            if depths:
                near = [layer.name for layer in context.layers if min(depths) <= layer.depth <= max(depths)]
                layers = tuple(near) or (context.layers[0].name,)
                depth = sum(depths) / len(depths)
                options = (KEPT, *CHEAPER)
                found.append(Variable(self.name, kind, "activation", "unordered", options, layers=layers, depth=depth))
        return tuple(found)

    def left_out(self, context: SpaceContext) -> tuple[LeftOut, ...]:
        """Return that there is nothing to replace, where no costly activation is a module."""
        why = "the network has none as a module of its own; functions inside forward cannot be replaced"
        return () if self.variables(context) else (LeftOut("activations", why),)

    def apply(self, context: SpaceContext, spec: StudentSpec, decisions: Sequence[Decision]) -> StudentSpec:
        """Return `spec` with the modules of each sort replaced."""
        chosen = {variable.subject: str(option) for variable, option in decisions}
        replaced = {module.name: chosen[module.type] for module in context.modules if module.type in chosen}
        return replace(spec, replacements={**spec.replacements, **replaced})
