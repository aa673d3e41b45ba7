"""What the two parts of factored layers have to compute and to move, told as `spaces.shapes` does of whole layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .factors import SEPARABLE, Factor
from .layers import Layer
from .shapes import Counts, StudentShapes

FIRST_KIND, SECOND_KIND = "depthwise", "pointwise"
"""The kinds of layers that a separable convolution consists of."""


@dataclass(frozen=True, eq=False)
class Parts:
    """The layers of a student, and what stands behind the first part of those that have two.

    Attributes:
        first: Whole layers, and the first parts of others.
        second: The second parts of those; no other layer is present in it.
        separable: Which layers are separable convolutions, [layers].
    """

    first: StudentShapes
    second: StudentShapes
    separable: NDArray[np.bool_]


def in_parts(whole: StudentShapes, layers: Sequence[Layer], factors: Mapping[str, Factor]) -> Parts:
    """Return the shapes of both parts of factored layers.

    Args:
        whole: The student's shapes without its factors.
        layers: The teacher's layers, in order of execution.
        factors: Layer name -> what becomes of it.
    """
    chosen = [factors.get(layer.name) for layer in layers]
    factored = np.array([factor is not None for factor in chosen]) & whole.present
    separable = factored & np.array([factor is not None and factor.kind == SEPARABLE for factor in chosen])
    sides = zip(chosen, whole.inputs.tolist(), whole.outputs.tolist(), strict=True)
    between: Counts = np.array([0 if f is None else f.between(i, o) for f, i, o in sides], dtype=np.int64) * factored
    # positions of the output map, and numbers that one output of the layer has for each input
    area = whole.writes // np.maximum(1, whole.outputs)
    kernel = whole.weights // np.maximum(1, whole.outputs * whole.inputs)
    down = np.where(separable, between * kernel, whole.inputs * between)
    first = StudentShapes(
        inputs=whole.inputs,
        outputs=np.where(factored, between, whole.outputs),
        weights=np.where(factored, down, whole.weights),
        macs=np.where(factored, down * area, whole.macs),
        reads=whole.reads,
        writes=np.where(factored, between * area, whole.writes),
        bits=whole.bits,
        sparse=whole.sparse,
        present=whole.present,
        ways=whole.ways,
    )
    up = between * whole.outputs
    second = StudentShapes(
        inputs=between,
        outputs=whole.outputs * factored,
        weights=up,
        macs=up * area,
        reads=between * area,
        writes=whole.writes * factored,
        bits=np.where(factored, whole.bits, 32),
        sparse=whole.sparse & factored,
        present=factored,
        ways=whole.ways * factored,
    )
    return Parts(first, second, separable)
