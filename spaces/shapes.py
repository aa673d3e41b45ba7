"""Shapes: what every layer of a student has to compute and to move, told without building a network."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .context import SpaceContext
from .groups import Group
from .layers import Layer
from .presence import absent_layers
from .spec import DYNAMIC, FLOAT, STATIC, StudentSpec

Counts = NDArray[np.int64]
WAYS = (STATIC, DYNAMIC, FLOAT)


@dataclass(frozen=True, eq=False)
class StudentShapes:
    """The layers of one student, arrays [layers] in order of execution; of one example where that counts.

    Attributes:
        inputs: Input channels.
        outputs: Output channels.
        weights: Numbers in the weight tensor.
        macs: Multiply-accumulates, of all uses of the layer, as the next two are.
        reads: Numbers in the input map as the layers before left it, pooled or not.
        writes: Numbers in the output map.
        bits: Of the weights.
        ways: How activations are quantized: 0 over known ranges, 1 dynamic, 2 float, where bits are few.
        sparse: Whether the weights hold a pattern that the target has faster kernels for.
        present: Whether the student has the layer at all; of one that it lacks, all else is 0, in 32 bits.
    """

    inputs: Counts
    outputs: Counts
    weights: Counts
    macs: Counts
    reads: Counts
    writes: Counts
    bits: Counts
    ways: Counts
    sparse: NDArray[np.bool_]
    present: NDArray[np.bool_]


class Shapes:
    """Tells the shapes of students over one context.

    What is the same for all is worked out once, so that a student takes well below a millisecond.
    """

    def __init__(self, context: SpaceContext) -> None:
        self.context = context
        self._place = {layer.name: i for i, layer in enumerate(context.layers)}
        outputs = np.array([layer.shape[0] for layer in context.layers], dtype=np.int64)
        inputs = np.array([_inputs(layer, context) for layer in context.layers], dtype=np.int64)
        # one place for every index of every side, the outputs of all layers first; each side begins at its start
        self._full = np.concatenate([outputs, inputs])
        self._starts = np.concatenate([[0], np.cumsum(self._full)[:-1]])
        self._per_group = np.array([_inputs_per_group(layer) for layer in context.layers], dtype=np.int64)
        self._kernel = np.array([math.prod(layer.shape[2:]) for layer in context.layers], dtype=np.int64)
        self._areas = {0: _areas(context)}
        for resizing in context.resizings:
            layers = tuple(_on(layer, resizing.areas.get(layer.name, layer.area)) for layer in context.layers)
            self._areas[resizing.size] = _areas(replace(context, layers=layers))
        self._groups = {group.name: group for group in context.groups}
        self._gone: dict[tuple[str, int], Counts] = {}

    def of(self, spec: StudentSpec) -> StudentShapes:
        """Return the shapes of a student: exactly those of the module that `make_student` gives."""
        lost = np.zeros(int(self._full.sum()), dtype=np.int64)
        for name, count in spec.channels.items():
            if name in self._groups:
                lost[self._indices(name, count)] = 1
        kept = self._full - np.add.reduceat(lost, self._starts)
        gone = absent_layers(self.context, spec)
        present = np.array([name not in gone for name in self._place], dtype=bool)
        outputs, inputs = (side * present for side in np.split(kept, 2))
        # a grouped convolution loses as many inputs in each of its groups; a depthwise one has one input at all times
        per_group = np.maximum(1, self._per_group * inputs // np.split(self._full, 2)[1])
        weights = outputs * per_group * self._kernel  # 0 without outputs
        layers, faster = self.context.layers, self.context.capabilities.patterns
        area, read_area = self._areas[spec.size]
        return StudentShapes(
            inputs=inputs,
            outputs=outputs,
            weights=weights,
            macs=weights * area,
            reads=inputs * read_area,
            writes=outputs * area,
            bits=np.array([spec.bits.get(layer.name, 32) for layer in layers], dtype=np.int64),
            ways=np.array([WAYS.index(spec.activations.get(layer.name, STATIC)) for layer in layers], dtype=np.int64),
            sparse=np.array([name in spec.patterns and spec.patterns[name].kind in faster for name in self._place]),
            present=present,
        )

    def _indices(self, name: str, count: int) -> Counts:
        """Return the places of all that goes when this group keeps `count` channels."""
        if (name, count) not in self._gone:
            group = self._groups[name]
            gone = np.ones(group.channels, dtype=bool)
            gone[group.keep(count)] = False
            self._gone[name, count] = np.concatenate([np.zeros(0, dtype=np.int64), *self._places(group, gone)])
        return self._gone[name, count]

    def _places(self, group: Group, gone: NDArray[np.bool_]) -> list[Counts]:
        found = []
        for member in group.members:
            if member.layer not in self._place or not member.pairs:
                continue
            channels, indices = np.array(member.pairs, dtype=np.int64).T
            indices = indices[gone[channels]]
            at = self._place[member.layer]
            if member.side in ("out", "both"):
                found.append(self._starts[at] + indices)
            if member.side in ("in", "both"):
                found.append(self._starts[at + len(self._place)] + indices)
        return found


def _on(layer: Layer, area: int) -> Layer:
    """Return a layer whose first use has so many positions; those of its other uses change with them."""
    return replace(layer, area=area, again=layer.again * area // max(1, layer.area))


def _inputs(layer: Layer, context: SpaceContext) -> int:
    """Return the input channels of all groups of a convolution together."""
    if layer.kind == "depthwise":
        return layer.shape[0]
    sides = (m for group in context.groups for m in group.members if m.layer == layer.name and m.side == "in")
    last = max((index for member in sides for _, index in member.pairs), default=0)
    return math.ceil((last + 1) / layer.shape[1]) * layer.shape[1]


def _inputs_per_group(layer: Layer) -> int:
    return 1 if layer.kind == "depthwise" else layer.shape[1]


def _areas(context: SpaceContext) -> tuple[Counts, Counts]:
    """Return the positions of each layer's output maps, and of its input maps, over all its uses."""
    written = np.array([layer.area for layer in context.layers], dtype=np.int64)
    read = np.array([area for part in context.parts() for area in _read_areas(part)], dtype=np.int64)
    again = np.array([layer.again for layer in context.layers], dtype=np.int64)
    return written + again, read + read * again // np.maximum(1, written)


def _read_areas(context: SpaceContext) -> list[int]:
    """Return the positions of each layer's input map in one network.

    They are those of the last layer before it that writes into the same channels, else of the last one before it; of
    the first layer its own, since nothing is known of the input.
    """
    writers: dict[str, list[str]] = {}
    readers: dict[str, list[str]] = {}
    for group in context.groups:
        for member in group.members:
            if member.side != "in":
                writers.setdefault(group.name, []).append(member.layer)
            if member.side != "out":
                readers.setdefault(member.layer, []).append(group.name)
    found = []
    for i, layer in enumerate(context.layers):
        before = [w for group in readers.get(layer.name, ()) for w in writers.get(group, ())]
        areas = [earlier.area for earlier in context.layers[:i] if earlier.name in before]
        if not areas and i:
            areas = [context.layers[i - 1].area]
        # what a linear layer reads was pooled, or holds all positions in its channels
        found.append(areas[-1] if areas and layer.kind != "linear" else layer.area)
    return found
