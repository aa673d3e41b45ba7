"""The terms that the latency of a student hangs on: sums over its layers by kind and precision, and their borders.

Layers do not add up to a network's latency (what is fused, what stays in a cache, what runs beside what). So these sums
are but the terms of a formula whose factors are fitted to whole networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..spaces.axes.factors import FactorsAxis
from ..spaces.axes.ranges import RangesAxis
from ..spaces.context import SpaceContext
from ..spaces.factored_shapes import FIRST_KIND, SECOND_KIND, in_parts
from ..spaces.recurrent_shapes import RecurrentShapes
from ..spaces.shapes import Shapes, StudentShapes
from ..spaces.spec import ADAPTERS, DYNAMIC, StudentSpec

Vector = NDArray[np.float64]
Parts = tuple[tuple[StudentShapes, NDArray[np.int64]], ...]
"""Shapes of layers with their kinds, and those of second parts (see `spaces.factored_shapes`)."""

STEP = 16
"""Channels that CPU and GPU kernels take at a time: other counts are padded, or fall out of the fast layout."""
BITS = (4, 8, 16, 32)
BYTES = (1.0, 1.0, 2.0, 4.0)
"""Bytes of a number in such a layer: 4 bits are unpacked before they are used."""
RATES = (0.8, 0.5, 0.7, 1.0)
"""Time of a multiply-accumulate in so many bits over that in 32, where the target has no profile."""
WITH_WAYS = ((8, 1), (8, 2), (4, 2))
"""(bits, how activations are quantized) of classes of their own, where a study decides about that."""
REPLACED_BY = ("ReLU", "ReLU6", "Hardswish", "Hardsigmoid", "LeakyReLU", "Identity", "")
"""Classes of modules that others are replaced by, told apart; the last one stands for all others."""
# Relative costs on common CPUs: arithmetic and memory traffic of a layer in their usual proportion. Only their
# proportions matter, and only until samples tell better.
_MAC = {"conv": 1.0, "pointwise": 1.0, "depthwise": 5.0, "linear": 1.5}
_RAGGED, _WEIGHT_BYTE, _MAP_BYTE, _LAYER, _BORDER, _BORDER_NUMBER = 0.2, 1.5, 2.5, 75_000.0, 50_000.0, 15.0

_ADAPTER = (_MAC["linear"], 4 * 4 * _MAP_BYTE, 3 * _LAYER)
# of its two layers and an addition: each number of its map is read twice and written twice, in four bytes


class Features:
    """Tells the terms of a latency, for students over one context.

    For each kind of layer, precision and pattern: multiply-accumulates; those of layers whose channels are no multiple
    of STEP, once more; bytes of weights; bytes of the maps read and written; layers. Then borders between precisions,
    in order of execution, and the numbers that cross them. Then the numbers that replaced modules give, by their new
    class. Where a network has recurrent layers: their multiply-accumulates in float and in int8. Where a study may add
    adapters: their multiply-accumulates, the maps that they read and write, and how many.

    Attributes:
        shapes: Tells the shapes of students.
        prior: Relative costs of the terms on common CPUs, [terms].
    """

    def __init__(self, context: SpaceContext) -> None:
        """Work out what is the same for all students.

        Args:
            context: What the students are students of.
        """
        self.shapes = Shapes(context)
        self._has_factors = FactorsAxis.name in context.axes
        made = (FIRST_KIND, SECOND_KIND) if self._has_factors else ()
        kinds = tuple(dict.fromkeys((*(layer.kind for layer in context.layers), *made)))
        self._made = [kinds.index(kind) for kind in made] or [0, 0]
        self._kind = np.array([kinds.index(layer.kind) for layer in context.layers])
        # a study that does not decide about activations has the terms that it always had
        self._ways = WITH_WAYS if RangesAxis.name in context.axes else ()
        self._numbers = len(BITS) + len(self._ways)
        self._classes = len(kinds) * self._numbers * 2
        self._bytes = np.array([*BYTES, *(BYTES[BITS.index(bits)] for bits, _ in self._ways)])
        self._size_of = {module.name: module.size for module in context.modules}
        layers = [cost for kind in kinds for cost in _priors(context, kind, self._ways)]
        kernels = [can.recurrent for can in (context.capabilities, *context.targets.values())]
        run = {kind for each in kernels for kind in each if any(DYNAMIC in forms for forms in each[kind].values())}
        # others run in float at all times, and take less of it where they read less
        self._recurrent = (*context.recurrent, *context.float_recurrent)
        self._may_run = np.array([layer in context.recurrent and layer.kind in run for layer in self._recurrent])
        self._reading = RecurrentShapes(context, self._recurrent)
        read = (RATES[BITS.index(32)], RATES[BITS.index(8)]) if self._recurrent else ()
        # of each block the layers that an adapter may stand behind, the last one first
        at = {layer.name: i for i, layer in enumerate(context.layers)}
        blocks = context.blocks if ADAPTERS in context.ways else ()
        self._adapted = [[at[name] for name in reversed(block.layers) if name in at] for block in blocks]
        added = _ADAPTER if self._adapted else ()
        self.prior = np.array([*layers, _BORDER, _BORDER_NUMBER, *[0.0] * 2 * len(REPLACED_BY), *read, *added])

    def of(self, spec: StudentSpec) -> tuple[Vector, Vector]:
        """Return the terms of a student, and where among students it lies: those near each other err alike.

        Args:
            spec: The student.

        Returns:
            Its terms [terms] and its place [places].
        """
        whole = self.shapes.of(spec)
        parts = self._parts(whole, spec)
        place = [_place(whole), *([_place_of_parts(whole, parts)] if self._has_factors else [])]
        place += [_place_of_ways(whole)] if self._ways else []
        terms = [self._terms(parts), self._replaced(spec)]
        if self._recurrent:
            asked = np.array([spec.activations.get(layer.name) == DYNAMIC for layer in self._recurrent])
            in_int8 = asked & self._may_run
            macs = self._reading.macs(spec)
            terms.append(np.array([macs @ ~in_int8, macs @ in_int8]))
            doublings = np.log2(np.where(in_int8, 8.0, 32.0)), np.log2(np.maximum(1, macs))
            place += [each / np.sqrt(len(macs)) for each in doublings]
        if self._adapted:
            added = self._added(whole, spec)
            rank = added[:1] / (2 * np.maximum(1, added[1:2]))
            terms, place = [*terms, added], [*place, np.log2(1 + rank) / 2]
        return np.concatenate(terms), np.concatenate(place)

    def _added(self, whole: StudentShapes, spec: StudentSpec) -> Vector:
        adapters = None if spec.recovery is None else spec.recovery.kept_adapters
        if adapters is None:
            return np.zeros(len(_ADAPTER))
        there = (next((at for at in layers if whole.present[at]), None) for layers in self._adapted)
        maps = [float(whole.writes[at]) for at in there if at is not None]
        return np.array([2 * adapters.rank * sum(maps), sum(maps), len(maps)])

    def _replaced(self, spec: StudentSpec) -> Vector:
        # costs are never negative, but another module may be faster or slower: each sum stands there with both signs
        sizes = np.zeros(len(REPLACED_BY))
        for name, kind in spec.replacements.items():
            at = REPLACED_BY.index(kind) if kind in REPLACED_BY else len(REPLACED_BY) - 1
            sizes[at] += self._size_of.get(name, 0)
        return np.concatenate([sizes, -sizes])

    def by_layer(self, spec: StudentSpec) -> Vector:
        """Return the part that each layer of a student has of the costs of all its layers, [layers], sum 1.

        It goes by the usual costs of arithmetic, traffic and layers, with what was measured of bits on the target.
        Costs that are fitted to whole networks do not tell layers apart: what every student has alike, such as a last
        layer of its kind, takes on what the network costs at any time.
        """
        found = np.zeros(len(self._kind))
        for shapes, kind in self._parts(self.shapes.of(spec), spec):
            label, columns = self._columns(shapes, kind)
            each = self.prior[: self._classes * len(columns)].reshape(self._classes, len(columns))[label]
            found += (np.stack(columns, axis=1) * each).sum(axis=1)
        return np.asarray(found / found.sum(), dtype=np.float64)

    def _parts(self, whole: StudentShapes, spec: StudentSpec) -> Parts:
        """Return the shapes of layers and their kinds, and then of the second parts of those that have two."""
        if not spec.factors:
            return ((whole, self._kind),)
        parts = in_parts(whole, self.shapes.context.layers, spec.factors)
        first, second = (np.where(parts.separable, kind, self._kind) for kind in self._made)
        return (parts.first, first), (parts.second, second)

    def _terms(self, parts: Parts) -> Vector:
        labels, rows = zip(*(self._columns(*part) for part in parts), strict=True)
        label, columns = np.concatenate(labels), [np.concatenate(column) for column in zip(*rows, strict=True)]
        sums = [np.bincount(label, weights=column, minlength=self._classes) for column in columns]
        shapes, _ = parts[0]  # both parts of a layer are in one precision
        bits, reads = shapes.bits[shapes.present], shapes.reads[shapes.present]
        borders = bits[1:] != bits[:-1]
        crossing = [np.count_nonzero(borders), (reads[1:] * borders).sum()]
        return np.concatenate([np.stack(sums, axis=1).ravel(), np.array(crossing, dtype=np.float64)])

    def _columns(self, shapes: StudentShapes, kind: NDArray[np.int64]) -> tuple[NDArray[Any], tuple[NDArray[Any], ...]]:
        """Return the class of each layer, and the terms of each layer in its class."""
        width = np.searchsorted(BITS, np.minimum(shapes.bits, BITS[-1]))
        for number, (bits, way) in enumerate(self._ways, len(BITS)):
            width = np.where((shapes.bits == bits) & (shapes.ways == way), number, width)
        label = (kind * self._numbers + width) * 2 + shapes.sparse
        size = self._bytes[width]
        # the few inputs of a first layer are laid out in a way of their own
        ragged = (shapes.outputs % STEP != 0) | ((shapes.inputs % STEP != 0) & (shapes.inputs > 4))
        maps = shapes.reads + shapes.writes
        return label, (
            shapes.macs,
            shapes.macs * ragged,
            shapes.weights * size,
            maps * size,
            shapes.present.astype(np.float64),
        )


def _place(shapes: StudentShapes) -> Vector:
    # doublings of each layer's outputs and positions and halvings of its bits, so that squared distances are means
    # over layers; a layer that is gone has one output at one position
    outputs, writes = np.maximum(1, shapes.outputs), np.maximum(1, shapes.writes)
    parts = [np.log2(outputs), np.log2(writes / outputs), np.log2(shapes.bits)]
    return np.asarray(np.concatenate(parts) / np.sqrt(len(shapes.bits)), dtype=np.float64)


def _place_of_ways(shapes: StudentShapes) -> Vector:
    # dynamic or not, float or not
    found = np.concatenate([shapes.ways == 1, shapes.ways == 2])
    return np.asarray(found / np.sqrt(len(shapes.ways)), dtype=np.float64)


def _place_of_parts(whole: StudentShapes, parts: Parts) -> Vector:
    # doublings of the weights of each layer that its parts leave
    weights = sum(shapes.weights for shapes, _ in parts)
    doublings = np.log2(np.maximum(1, weights)) - np.log2(np.maximum(1, whole.weights))
    return np.asarray(doublings / np.sqrt(len(doublings)), dtype=np.float64)


def _priors(context: SpaceContext, kind: str, ways: Sequence[tuple[int, int]]) -> list[float]:
    # the relative costs of one kind's terms, in each precision, dense and sparse
    found = []
    for bits, rate in (*zip(BITS, RATES, strict=True), *((bits, RATES[BITS.index(bits)]) for bits, _ in ways)):
        measured = context.profile.bits_time(kind, bits) if context.profile else None
        mac = _MAC.get(kind, 1.0) * (measured.ratio.value if measured else rate)
        for share in (1.0, 0.7):
            found += [mac * share, mac * share * _RAGGED, _WEIGHT_BYTE, _MAP_BYTE, _LAYER]
    return found
