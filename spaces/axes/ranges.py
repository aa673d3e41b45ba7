"""The axis `ranges`: over which ranges the inputs of linear layers of few bits are rounded, or whether they are.

Ranges from calibration cost nothing while a file runs. Those of each batch as it comes follow inputs that vary much, as
in transformers, and cost a look at them. Inputs that stay float need no range at all: only weights have few bits, with
a scale for each group of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..context import SpaceContext
from ..groups import LeftOut
from ..layers import Layer
from ..presence import absent_layers, first_where_absent
from ..spec import DYNAMIC, FLOAT, STATIC, StudentSpec
from ..variables import Variable
from .base import AxisDefaults, Decision, Stage
from .bits import regions

FEW_ROWS = 8
"""With at most so many rows a multiplication waits for its weights: then fewer bytes of them make it faster, although
its inputs stay float. At 64 rows it took 1.2 times as long as in float (Xeon with VNNI)."""
LINEAR = "linear"


class RangesAxis(AxisDefaults):
    """One variable for each region of `bits` that has linear layers; its other layers are not concerned."""

    name = "ranges"
    stage: Stage = "ranges"

    def variables(self, context: SpaceContext) -> tuple[Variable, ...]:
        """Return a variable for each region whose linear layers have a choice."""
        found = []
        for region in regions(context):
            layers = [layer for layer in region if layer.kind == LINEAR]
            ways = _offered(context, layers)
            if layers and ways:
                found.append(
                    Variable(
                        axis=self.name,
                        subject=region[0].name,
                        role=LINEAR,
                        kind="unordered",
                        options=(STATIC, *ways),
                        layers=tuple(layer.name for layer in layers),
                        depth=sum(layer.depth for layer in layers) / len(layers),
                    )
                )
        return tuple(found)

    def left_out(self, context: SpaceContext) -> tuple[LeftOut, ...]:
        """Return what no region of linear layers is offered."""
        linear = [layer for region in regions(context) for layer in region if layer.kind == LINEAR]
        if not linear:
            return (LeftOut("ranges", "there is no linear layer, and others run over known ranges"),)
        ways = _of_targets(context)
        missing = (way for way in (DYNAMIC, FLOAT) if way not in ways)
        gone = [LeftOut(f"{way} activations", "not every target has kernels that take them") for way in missing]
        if FLOAT in ways and FLOAT not in _offered(context, linear):
            rows = max(layer.area for layer in linear) * context.batch
            why = f"slower where a layer has more than {FEW_ROWS} rows, here up to {rows}; offered when size counts"
            gone.append(LeftOut(f"{FLOAT} activations", why))
        return tuple(gone)

    def repair(self, context: SpaceContext, spec: StudentSpec, decisions: Sequence[Decision]) -> Sequence[Decision]:
        """Return the ways that the chosen target has at the bits of the layers, known ranges elsewhere."""
        can, gone = context.capabilities_of(spec.target), absent_layers(context, spec)
        found = []
        for variable, way in first_where_absent(context, spec, decisions):
            widths = {spec.bits.get(layer, 32) for layer in variable.layers if layer not in gone}
            legal = all(way in can.ways.get(width, ()) for width in widths)
            found.append((variable, way if legal else STATIC))
        return found

    def apply(self, context: SpaceContext, spec: StudentSpec, decisions: Sequence[Decision]) -> StudentSpec:
        """Return `spec` with the ways of all layers that it has where ranges are not known."""
        ways, gone = dict(spec.activations), absent_layers(context, spec)
        for variable, way in decisions:
            ways |= {layer: str(way) for layer in variable.layers if layer not in gone}
        return replace(spec, activations={layer: way for layer, way in ways.items() if way != STATIC})


def _of_targets(context: SpaceContext) -> tuple[str, ...]:
    """Return what the targets have besides known ranges, at any width that they run."""
    ways = context.capabilities.ways
    return tuple(way for way in (DYNAMIC, FLOAT) if any(way in each for each in ways.values()))


def _offered(context: SpaceContext, layers: Sequence[Layer]) -> tuple[str, ...]:
    """Return what may be chosen for these layers besides known ranges."""
    rows = max((layer.area for layer in layers), default=0) * context.batch
    found = _of_targets(context)
    return found if context.storage_counts or rows <= FEW_ROWS else tuple(way for way in found if way != FLOAT)
