"""Compound scaling: depth, width and the size of inputs shrink together, described by one number.

A step of EfficientNet (Tan and Le 2019, arXiv:1905.11946, sections 3.3 and 4) makes a network 1.2 times as deep, 1.1
times as wide and its images 1.15 times as large, which about doubles its arithmetic. Here the steps go the other way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ...spaces.axes.bits import FULL
from ...spaces.axes.registry import SCALED, SIZES
from ...spaces.plan import Plan
from ...spaces.space import Space
from ...spaces.variables import Number, Option, Value
from ..trial import Origin
from .by_hand import Design, on_targets
from .counts import Counted, on_or_off
from .encoding import Choice, Parameter
from .profile import is_drawn, option_of, parameter_of, value_of
from .role_classes import role_classes

DEPTH, WIDTH, SIZE = 1.2, 1.1, 1.15
"""Of a step: how many times as many blocks, as many channels, and as large a side."""
MOST = 6.0
"""Steps at most: about a sixtieth of the arithmetic is left."""
STEPS = (2.0, 4.0, 1.0, 3.0)
"""Those that a study begins with, the likeliest to give a usable model first."""
GRID = tuple(i / 4 for i in range(int(4 * MOST) + 1))
"""Steps that a plan is held against, to see whether it was scaled."""
SCALE, BITS, TARGET = "compound.scale", "compound.bits", "target"


def can_scale(space: Space) -> bool:
    """Tell whether at least two of depth, width and the size of inputs are decided in a space."""
    return sum(any(space.of(axis) for axis in kind) for kind in SCALED) > 1


def scaled(space: Space, steps: float, like: Plan, ranks: Mapping[str, float] | None = None) -> Plan:
    """Return the plan of a network that is smaller by so many steps.

    Args:
        space: The space.
        steps: 0.0 for the whole network.
        like: The plan that all other decisions are taken from.
        ranks: Variable name -> how sensitive it is beside others of its axis, -1 to 1, where that is known: the least
            sensitive blocks go first. Else those that go are spread evenly.
    """
    sizes = space.context.resizings
    dimensions = len(sizes[0].full) if sizes else 0  # what is left of the area, not of a side
    parts: dict[str, Option] = {**dict.fromkeys(SIZES, WIDTH**-steps), "size": SIZE ** (-dimensions * steps)}
    return space.uniform(parts, like.changed(_shallower(space, DEPTH**-steps, ranks or {})))


def scaled_designs(space: Space, ranks: Mapping[str, float] | None = None) -> Iterator[Design]:
    """Yield scaled plans, on every target that plans choose from; none where too little can be scaled.

    Args:
        space: The space.
        ranks: See `scaled`; those of a `CompoundEncoding` which shall describe these plans.
    """
    bits = 8 if 8 in space.options("bits") else FULL
    for steps in STEPS if can_scale(space) else ():
        like = scaled(space, steps, space.taught, ranks)
        yield from on_targets(space, Origin.DESIGN, "initial design", like, WIDTH**-steps, bits)


class CompoundEncoding:
    """Describes plans by how many steps smaller they are, by one precision, and by what lies outside the network."""

    def __init__(self, space: Space, ranks: Mapping[str, float] | None = None) -> None:
        """Describe plans of `space`.

        Args:
            space: The space.
            ranks: See `scaled`.
        """
        self._space, self._ranks = space, ranks or {}
        self._bits = tuple(map(str, space.options("bits"))) or (str(FULL),)
        inside = {v.name for v in space.network}
        self._outside = [v for v in space.variables if v.is_searched and v.name not in inside]
        self._described: dict[str, dict[tuple[int, ...], tuple[float, str]]] = {}

    def latent(self) -> dict[str, Parameter]:
        """Return the number of steps, the precision where there is a choice, and what lies outside the network."""
        found: dict[str, Parameter] = {SCALE: Number(0.0, MOST)}
        if len(self._bits) > 1:
            found[BITS] = Choice(self._bits)
        return found | {v.name: parameter_of(v) for v in self._outside}

    def decode(self, latent: Mapping[str, Value]) -> Plan:
        """Return the legal plan that `latent` stands for."""
        outside = {v.name: option_of(v, latent[v.name]) for v in self._outside}
        bits = str(latent.get(BITS, self._bits[0]))
        return self._plan(float(latent[SCALE]), bits, self._space.taught.changed(outside))

    def encode(self, plan: Plan) -> dict[str, Value] | None:
        """Return the numbers of a plan; None of one that is not trained, or not scaled so."""
        described = self._on(str(plan.choices.get(TARGET, "")))
        found = described.get(tuple(self._space.indices(plan))) if is_drawn(self._space, plan) else None
        if found is None:
            return None
        numbers: dict[str, Value] = dict(zip((SCALE, BITS), found, strict=True))
        return {name: numbers[name] for name in self.latent() if name in numbers} | {
            v.name: value_of(v, plan) for v in self._outside
        }

    def _on(self, target: str) -> Mapping[tuple[int, ...], tuple[float, str]]:
        """Return the scaled plans on a target, with what describes them: the fewest steps that make them."""
        if target not in self._described:
            like = self._space.taught.changed({TARGET: target}) if target else self._space.taught
            self._described[target] = {
                tuple(self._space.indices(self._plan(steps, bits, like))): (steps, bits)
                for bits in reversed(self._bits)
                for steps in reversed(GRID)
            }
        return self._described[target]

    def _plan(self, steps: float, bits: str, like: Plan) -> Plan:
        return self._space.uniform({"bits": int(bits)}, scaled(self._space, steps, like, self._ranks))


def _shallower(space: Space, part: float, ranks: Mapping[str, float]) -> dict[str, Option]:
    """Return what becomes of the blocks that may go where this part of them stays."""
    found: dict[str, Option] = {}
    for known in role_classes(space):
        its = tuple(space.network[place] for place in known.places)
        if on_or_off(its):
            order = 1.0 if any(v.name in ranks for v in its) else 0.0
            found |= Counted(known.name, its, ranks).decode({f"{known.name}.level": part, f"{known.name}.order": order})
    return found
