"""Sensitivity: how much a teacher's answers suffer from single decisions, and what that says of a variable's options.

The figure is the mean over inputs of the Kullback-Leibler divergence of the softmax outputs, KL(teacher || student), in
nats. It is measured without any training (`compression/sensitivity.py`), so it orders decisions. It does not promise an
accuracy, and figures of several decisions do not add up.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from .space import Space
from .spec import StudentSpec
from .union import of_one_network
from .variables import Option, Variable

TINY_NATS = 1e-9
"""Smaller figures are rounding errors: they count as this where a logarithm is taken."""
LONG = 6
"""Of a row of sizes with more options, only some are measured; the others are interpolated."""
MANY_SIZES = 4
"""Rows of at least so many options are compared at half of the size."""
MEASURED = 5
"""So many of them, besides the first."""


class Question(NamedTuple):
    """One decision alone: what it is about, such as "bits:layer1.0.conv1", and the option."""

    name: str
    option: Option


class Measured(NamedTuple):
    """What was measured of one option: the part of the teacher that it leaves, and the divergence in nats."""

    option: Option
    part: float
    nats: float


@dataclass(frozen=True)
class Sensitivity:
    """What was measured of single decisions.

    Attributes:
        rows: What a decision is about -> its options, in the order in which they were asked for.
        inputs: Number of inputs that the divergences are means over.
    """

    rows: Mapping[str, tuple[Measured, ...]] = field(default_factory=dict)
    inputs: int = 0

    def known(self) -> dict[Question, Measured]:
        """Return all that was measured, one by one."""
        return {Question(name, m.option): m for name, row in self.rows.items() for m in row}

    def merged(self, other: Sensitivity) -> Sensitivity:
        """Return these figures and those of `other`, which count where both have measured the same."""
        found = {**self.known(), **other.known()}
        return of_questions(found, other.inputs)

    def of(self, space: Space) -> dict[str, tuple[float, ...]]:
        """Return variable name -> divergence (nats) of each option alone, as `Surrogates.sensitivity` wants it.

        The first option has 0, and an option has no less than those of its family that compress less: a smaller figure
        is noise. A variable over several layers that were measured one by one has the sum over its layers; a layer that
        was not measured counts 0. Options that were not measured lie between their neighbours, see `at_part`. Variables
        of which nothing is known are left out.
        """
        found = {}
        for variable in space.network:
            rows = [row for name in rows_of(space, variable) if (row := self.rows.get(name))]
            if rows:
                sums = [sum(at_option(row, variable, i) for row in rows) for i in range(1, len(variable.options))]
                found[variable.name] = (0.0, *_rising(sums, variable))
        return found

    def weight(self, name: str) -> float:
        """Return one figure (nats) to compare rows of one axis by.

        It is the divergence at half of the size for rows of many sizes, else that of the option that harms most among
        those that all rows of the axis have.
        """
        row = self.rows[name]
        if len(row) >= MANY_SIZES:
            return at_part(row, 0.5)
        alike = [self.rows[other] for other in self.rows if other.partition(":")[0] == name.partition(":")[0]]
        shared = set.intersection(*({m.option for m in other} for other in alike))
        return max(m.nats for m in row if m.option in shared or not shared)

    def order(self, axis: str) -> tuple[str, ...]:
        """Return the names of the rows of an axis, from least to most sensitive."""
        return tuple(sorted((n for n in self.rows if n.partition(":")[0] == axis), key=self.weight))


def of_questions(found: Mapping[Question, Measured], inputs: int) -> Sensitivity:
    """Return a table of `found`, rows and options in its order."""
    rows: dict[str, list[Measured]] = {}
    for question, measured in found.items():
        rows.setdefault(question.name, []).append(measured)
    return Sensitivity({name: tuple(row) for name, row in rows.items()}, inputs)


def rows_of(space: Space, variable: Variable) -> dict[str, str | None]:
    """Return the rows that are measured for a variable, with the layer that each is about.

    It is one row, of no single layer, where the network's shape changes; else a row for each layer.
    """
    spec = alone(space, variable, variable.options[-1])
    if spec.changes_network:
        return {variable.name: None}
    return {f"{variable.axis}:{layer}": layer for layer in variable.layers}


def questions_of(space: Space, network: str = "") -> dict[Question, tuple[StudentSpec, float]]:
    """Return every decision to measure, with its specification and the part of the network that it leaves.

    Args:
        space: The space.
        network: Name of the network that the decisions are about; empty for the teacher. Specifications are edits of
            that network.
    """
    found: dict[Question, tuple[StudentSpec, float]] = {}
    for variable in space.network:
        if space.context.network_of(variable.layers) != network:
            continue
        for i in _asked(variable):
            option, part = variable.options[i], variable.parts[i]
            spec = alone(space, variable, option)
            for name, layer in rows_of(space, variable).items():
                one = spec if layer is None else _of_layer(spec, layer)
                if one != StudentSpec():
                    found[Question(name, option)] = (one, part)
    return found


def alone(space: Space, variable: Variable, option: Option) -> StudentSpec:
    """Return what one decision does by itself, to the layers that it is about, as an edit of their own network."""
    axis = next(axis for axis in space.axes if axis.name == variable.axis)
    of_network = StudentSpec(student=space.context.network_of(variable.layers))
    spec = of_one_network(space.context, axis.apply(space.context, of_network, [(variable, option)]))
    bits = {layer: width for layer, width in spec.bits.items() if layer in variable.layers}
    ways = {layer: way for layer, way in spec.activations.items() if layer in bits}
    return replace(spec, bits=bits, activations=ways, recovery=None, target="", student="")


def at_option(row: Sequence[Measured], variable: Variable, i: int) -> float:
    """Return the divergence (nats) of the i-th option of `variable` by what was measured in `row`."""
    known = {m.option: m.nats for m in row}
    if variable.options[i] in known:
        return known[variable.options[i]]
    if len(set(variable.families)) == 1 and variable.kind == "ordered":
        return at_part(row, variable.parts[i])
    return 0.0


def at_part(row: Sequence[Measured], part: float) -> float:
    """Return the divergence (nats) at a size, never less than that of a larger size.

    Between two measured sizes the logarithm of the divergence is linear in the size. Below the full size it falls to 0
    in a straight line. Under the smallest measured size it is that one's.
    """
    sizes = {1.0: 0.0, **{m.part: m.nats for m in row}}
    parts = sorted(sizes, reverse=True)
    steps = list(itertools.accumulate((max(0.0, sizes[p]) for p in parts), max))
    for (high, less), (low, more) in itertools.pairwise(zip(parts, steps, strict=True)):
        if low <= part:
            share = min(1.0, max(0.0, (high - part) / (high - low)))
            if share in (0.0, 1.0):
                return more if share else less  # as they were measured, without a rounding that would rise again
            if less == 0.0:
                return share * more
            ends = math.log(max(less, TINY_NATS)), math.log(max(more, TINY_NATS))
            return min(more, max(less, math.exp(ends[0] + share * (ends[1] - ends[0]))))
    return steps[-1]


def _asked(variable: Variable) -> tuple[int, ...]:
    """Return the options to measure: all but the first, or some of a long row of sizes, the ends included."""
    rest = range(1, len(variable.options))
    if len(rest) <= LONG or len(set(variable.families)) > 1 or variable.kind != "ordered":
        return tuple(rest)
    first, last = variable.parts[1], variable.parts[-1]
    wanted = [first * (last / first) ** (i / (MEASURED - 1)) for i in range(MEASURED)]
    return tuple(sorted({min(rest, key=lambda i: abs(variable.parts[i] - w)) for w in wanted}))


def _of_layer(spec: StudentSpec, layer: str) -> StudentSpec:
    bits = {name: width for name, width in spec.bits.items() if name == layer}
    patterns = {name: pattern for name, pattern in spec.patterns.items() if name == layer}
    ways = {name: way for name, way in spec.activations.items() if name == layer}
    return replace(spec, bits=bits, patterns=patterns, activations=ways)


def _rising(nats: Iterable[float], variable: Variable) -> tuple[float, ...]:
    """Return figures of all options but the first, each at least that of options of its family before it."""
    most: dict[str, float] = {}
    found = []
    for value, family in zip(nats, variable.families[1:], strict=True):
        least = most.get(family, 0.0) if variable.kind == "ordered" else 0.0
        most[family] = max(least, value, 0.0)
        found.append(most[family] if variable.kind == "ordered" else max(0.0, value))
    return tuple(found)
