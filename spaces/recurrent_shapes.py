"""What the recurrent layers of a student compute, told without building a network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .context import SpaceContext
from .layers import Layer
from .presence import absent_layers
from .spec import StudentSpec


class RecurrentShapes:
    """Tells the work of recurrent layers of students over one context.

    What they remember and write stays whole. They may read fewer inputs, over fewer steps, or be gone.
    """

    def __init__(self, context: SpaceContext, layers: Sequence[Layer]) -> None:
        """Work out what is the same for all students.

        Args:
            context: What the students are students of.
            layers: The recurrent layers of it that count.
        """
        self._context, self._layers = context, layers
        self._groups = {group.name: group for group in context.groups}
        rows = {layer.name: layer.shape[0] for layer in layers}
        # Each index that a layer loses takes a column of each weight that reads, one for each direction.
        self._reading = {
            group.name: [(m.layer, m.pairs, rows[m.layer] * len(m.places)) for m in group.members if m.layer in rows]
            for group in context.groups
        }
        self._areas = {resizing.size: resizing.areas for resizing in context.resizings}

    def macs(self, spec: StudentSpec) -> NDArray[np.float64]:
        """Return the multiply-accumulates of each layer for one example, [layers]; 0 of those that a student lacks."""
        gone, lost = absent_layers(self._context, spec), dict.fromkeys((layer.name for layer in self._layers), 0)
        for name, count in spec.channels.items():
            if reading := self._reading.get(name):
                kept = set(self._groups[name].keep(count))
                for layer, pairs, numbers in reading:
                    lost[layer] += numbers * sum(channel not in kept for channel, _ in pairs)
        areas = self._areas.get(spec.size, {})
        found = [
            0 if layer.name in gone else (layer.weights - lost[layer.name]) * areas.get(layer.name, layer.area)
            for layer in self._layers
        ]
        return np.array(found, dtype=np.float64)
