"""What a user would run instead: Optuna on the flat space, a grid of uniform designs, one method after the other.

What looks at the roles of variables is in `by_roles`, what learns a forest in `forest`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import optuna

from autocompress.search.propose.by_hand import uniform
from autocompress.search.propose.profile import option_of
from autocompress.spaces.plan import Plan
from autocompress.spaces.variables import Value, Variable

from ..flat_space import flat_parameters, plan_of, precisions, teaching
from .by_roles import Factorial, TpeRoles
from .drawn import Drawn
from .executor import SimulatedExecutor
from .forest import Forest
from .landscape import Landscape
from .rival import Rival

GRID = 27


class Flat(Drawn):
    """Optuna with one parameter for each variable."""

    def parameters(self) -> dict[str, optuna.distributions.BaseDistribution]:
        """Return one for each variable, and how to teach."""
        return flat_parameters(self.landscape.space)

    def plan(self, drawn: Mapping[str, Value]) -> Plan:
        """Return the plan of these options."""
        return plan_of(self.landscape.space, drawn)


class Grid(Rival):
    """Uniform designs: 9 widths in 3 precisions, or 27 widths where there is one; the coarse picture first."""

    def run(self, horizon_s: float) -> None:
        """Try all designs, or as many as there is time for."""
        for plan in self._designs():
            if self.executor.clock_s >= horizon_s:
                return
            self.tried(plan)

    def _designs(self) -> Iterator[Plan]:
        bits = precisions(self.landscape.space)
        widths = np.linspace(1.0, 0.1, max(1, GRID // len(bits)))
        for i in sorted(range(len(widths)), key=_reversed_bits):
            for width in bits:
                yield uniform(self.landscape.space, float(widths[i]), width)


class Pipeline(Rival):
    """One method after the other.

    How wide is decided first (trained in full precision), then how many bits for the best of those, then how to teach
    what is best of all. Each step keeps what the step before it decided.
    """

    WIDTHS = 9

    def run(self, horizon_s: float) -> None:
        """Take the steps until the clock passes `horizon_s`."""
        space, executor = self.landscape.space, self.executor
        pruned: list[Plan] = []
        for width in np.linspace(1.0, 0.1, self.WIDTHS):
            plan = uniform(space, float(width), 32)
            if executor.clock_s >= horizon_s:
                return
            self.gate_ms(plan)
            self.accuracy(plan)  # over the budget too: fewer bits may bring it under
            pruned.append(plan)
        for plan in pruned:
            for bits in precisions(space)[1:]:
                if executor.clock_s < horizon_s:
                    self.tried(space.uniform({"bits": bits}, plan))
        random_ = random.Random(self.seed)
        while executor.clock_s < horizon_s and self.fitting and teaching(space):
            best = random_.choice(self.fitting)
            taught = {v.name: option_of(v, _drawn(v, random_)) for v in teaching(space)}
            self.tried(space.repair(best.changed(taught)))


def _drawn(variable: Variable, random_: random.Random) -> Value:
    if variable.bounds is None:
        return str(random_.choice(variable.drawn))
    low, high = variable.bounds.low, variable.bounds.high
    if variable.bounds.log:
        return float(np.exp(random_.uniform(np.log(low), np.log(high))))
    return random_.uniform(low, high)


def _reversed_bits(i: int) -> int:
    return int(f"{i:08b}"[::-1], 2)


RIVALS: Mapping[str, Callable[[Landscape, SimulatedExecutor, int], Rival]] = {
    "random": lambda landscape, executor, seed: Flat(landscape, executor, seed, "random"),
    "nsga2": lambda landscape, executor, seed: Flat(landscape, executor, seed, "nsga2"),
    "tpe": lambda landscape, executor, seed: Flat(landscape, executor, seed, "tpe"),
    "grid": Grid,
    "pipeline": Pipeline,
    "uniform27": lambda landscape, executor, seed: Factorial(landscape, executor, seed, 3),
    "uniform81": lambda landscape, executor, seed: Factorial(landscape, executor, seed, 4),
    "tpe-roles": TpeRoles,
    "rf-nsga2": Forest,
}
