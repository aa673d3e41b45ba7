"""What a user does who treats all variables of a role alike: a factorial over levels of roles, and TPE over them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import optuna

from autocompress.search.propose.profile import option_of, parameter_of
from autocompress.search.propose.samplers import distribution
from autocompress.spaces.plan import Plan
from autocompress.spaces.variables import Value, Variable

from ..flat_space import teaching
from .drawn import Drawn
from .executor import SimulatedExecutor
from .landscape import Floats, Ints, Landscape, role_class
from .rival import Rival

NARROWEST = 0.25
"""Part of the teacher's widths at the lowest level of a factorial; narrower ones are seldom of use."""
LEVELS = 3


@dataclass(frozen=True)
class RoleClass:
    """The variables of one axis that play the same part.

    Attributes:
        axis: Their axis.
        role: Their role without the number of a stage.
        places: Their numbers among the network variables.
        saved_ms: What the teacher saves when all of them take their smallest option.
    """

    axis: str
    role: str
    places: tuple[int, ...]
    saved_ms: float

    @property
    def name(self) -> str:
        """The name, unique within a landscape."""
        return f"{self.axis} {self.role}"


def role_classes(landscape: Landscape) -> list[RoleClass]:
    """Return the role classes of a landscape, the one that can save most time first."""
    variables = landscape.space.network
    found: dict[tuple[str, str], list[int]] = {}
    for i, variable in enumerate(variables):
        found.setdefault((variable.axis, role_class(variable)), []).append(i)
    designs = np.zeros((1 + len(found), len(variables)), dtype=np.int64)
    for design, places in zip(designs[1:], found.values(), strict=True):
        design[places] = [len(variables[i].options) - 1 for i in places]
    teacher_ms, *ms = landscape.latency_ms(designs)
    classes = [RoleClass(*key, tuple(found[key]), float(teacher_ms - m)) for key, m in zip(found, ms, strict=True)]
    return sorted(classes, key=lambda known: -known.saved_ms)


def option_at(variable: Variable, level: float, least: float) -> int:
    """Return the number of the option at a level, from 0.0 (the teacher's) to 1.0 (the smallest).

    Args:
        variable: A network variable.
        level: Where it is to stand.
        least: Part of the teacher's width at level 1.0. Bits have their few options at even levels.
    """
    if variable.axis == "bits":
        return round(level * (len(variable.options) - 1))
    parts = np.array(variable.parts)
    wanted = 1 - level * (1 - max(least, parts.min()))
    return int(np.abs(parts - wanted).argmin())


def factorial(landscape: Landscape, classes: int) -> Ints:
    """Return designs [n, variables] of a full factorial over role classes, the coarse picture first.

    There are three levels for each of the classes that can save most time; where a landscape has fewer classes, more
    levels. Other variables stand at the mean of those of their axis, or of all.

    Args:
        landscape: What is searched.
        classes: How many of them have levels of their own.
    """
    known = role_classes(landscape)
    chosen, others = known[:classes], known[classes:]
    count = round(LEVELS ** (classes / len(chosen)))
    levels = np.array(list(itertools.product(np.linspace(0, 1, count), repeat=len(chosen))))
    levels = levels[_spread(levels)]
    alike = [[c.axis == other.axis for c in chosen] for other in others]
    for same in alike:
        mean = levels[:, : len(chosen)][:, same if any(same) else [True] * len(chosen)].mean(axis=1)
        levels = np.column_stack([levels, mean])
    designs = [_design(landscape, [*chosen, *others], row, NARROWEST) for row in levels]
    return np.array(list(dict.fromkeys(map(tuple, designs))), dtype=np.int64)


class Factorial(Rival):
    """Role-wise uniform designs: 27 over three role classes, or 81 over four."""

    def __init__(self, landscape: Landscape, executor: SimulatedExecutor, seed: int, classes: int) -> None:
        """Search with levels for so many role classes."""
        super().__init__(landscape, executor, seed)
        self._classes = classes

    def run(self, horizon_s: float) -> None:
        """Try all designs, or as many as there is time for."""
        space = self.landscape.space
        for design in factorial(self.landscape, self._classes):
            if self.executor.clock_s >= horizon_s:
                return
            self.tried(space.assemble(design.tolist(), space.taught))


class TpeRoles(Drawn):
    """TPE over one level for each role class of widths, one precision for each of bits, and how to teach."""

    def __init__(self, landscape: Landscape, executor: SimulatedExecutor, seed: int) -> None:
        """Search with TPE that looks at each parameter by itself."""
        super().__init__(landscape, executor, seed, "tpe-apart")
        self._classes = role_classes(landscape)

    def parameters(self) -> dict[str, optuna.distributions.BaseDistribution]:
        """Return a level for each role class, and how to teach."""
        found: dict[str, optuna.distributions.BaseDistribution] = {}
        for known in self._classes:
            if known.axis == "bits":
                most = max(len(self.landscape.space.network[i].options) for i in known.places)
                found[known.name] = optuna.distributions.IntDistribution(0, most - 1)
            else:
                found[known.name] = optuna.distributions.FloatDistribution(0.0, 1.0)
        return found | {v.name: distribution(parameter_of(v)) for v in teaching(self.landscape.space)}

    def plan(self, drawn: Mapping[str, Value]) -> Plan:
        """Return the plan in which every class stands at its level."""
        space, levels = self.landscape.space, []
        for known in self._classes:
            level = float(drawn[known.name])
            if known.axis == "bits":
                level /= max(1, max(len(space.network[i].options) for i in known.places) - 1)
            levels.append(level)
        taught = {v.name: option_of(v, drawn[v.name]) for v in teaching(space)}
        design = _design(self.landscape, self._classes, levels, 0.0)
        return space.assemble(design, space.taught.changed(taught))


def _design(
    landscape: Landscape, classes: Sequence[RoleClass], levels: Sequence[float] | Floats, least: float
) -> list[int]:
    """Return the design in which each class stands at its level."""
    variables, design = landscape.space.network, [0] * len(landscape.space.network)
    for known, level in zip(classes, levels, strict=True):
        for i in known.places:
            design[i] = option_at(variables[i], float(level), least)
    return design


def _spread(points: Floats) -> list[int]:
    """Return an order that begins in the middle and goes on with what is farthest from all before it."""
    return list(_farthest_first(points))


def _farthest_first(points: Floats) -> Iterator[int]:
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)
    at = int(np.linalg.norm(points - points.mean(axis=0), axis=1).argmin())
    nearest = apart[at].copy()
    for _ in range(len(points)):
        yield at
        nearest = np.minimum(nearest, apart[at])
        nearest[at] = -1.0
        at = int(nearest.argmax())
