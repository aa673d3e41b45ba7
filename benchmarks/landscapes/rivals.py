"""What a user would run instead: Optuna on the flat space, a grid of uniform designs, one method after the other.

They pay the same prices on the same executor. A design over the budget costs them the gate alone; there are no rungs,
no seeds and no help from a guide.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np
import optuna

from autocompress.search.evaluate.evaluation import Job
from autocompress.search.propose.samplers import distribution
from autocompress.spaces.axes.base import Number, Value
from autocompress.spaces.axes.bits import BitsAxis
from autocompress.spaces.axes.recovery import RecoveryAxis
from autocompress.spaces.plan import Plan

from .executor import SimulatedExecutor
from .landscape import Landscape

GRID = 27
PATIENCE = 20
"""So many designs over the budget in a row, and TPE is told by how much they were; before that it only forgets them,
which serves it better (it crowds into the first pocket under the budget that it is told of)."""


class Rival:
    """One way to search. run(): until the clock passes `horizon_s` or nothing is left to try."""

    def __init__(self, landscape: Landscape, executor: SimulatedExecutor, seed: int) -> None:
        self.landscape, self.executor, self.seed = landscape, executor, seed
        self._number = 0

    def run(self, horizon_s: float) -> None:
        raise NotImplementedError("run: search until the clock passes horizon_s")

    def gate_ms(self, plan: Plan) -> float:
        """The measured latency."""
        self._number += 1
        (latency,) = self.executor.do(Job(self._number, plan, "gate")).latencies.values()
        return latency.p50_ms

    def accuracy(self, plan: Plan) -> float:
        """After full training, of the file."""
        for rung in range(len(self.executor.parts) if plan.recovery else 0):
            self.executor.do(Job(self._number, plan, "rung", rung))
        measurement = self.executor.do(Job(self._number, plan, "build")).measurement
        assert measurement is not None
        return measurement.accuracy

    def tried(self, plan: Plan) -> tuple[float, float | None]:
        """Latency (ms), and accuracy where that is under the budget."""
        ms = self.gate_ms(plan)
        return ms, self.accuracy(plan) if ms <= self.landscape.budget_ms else None


class Flat(Rival):
    """Optuna with one parameter for each site and each recovery number."""

    def __init__(self, landscape: Landscape, executor: SimulatedExecutor, seed: int, name: str) -> None:
        super().__init__(landscape, executor, seed)
        self._name = name
        self._recovery = next((axis for axis in landscape.space.axes if isinstance(axis, RecoveryAxis)), None)
        taught = self._recovery.parameters() if self._recovery else {}
        self._distributions: dict[str, optuna.distributions.BaseDistribution] = {
            **{s.name: optuna.distributions.IntDistribution(0, len(s.options) - 1) for s in landscape.sites},
            **{name: distribution(parameter) for name, parameter in taught.items()},
        }

    def run(self, horizon_s: float) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        study = optuna.create_study(directions=["minimize"] * 2, sampler=_optuna_sampler(self._name, self.seed))
        over = 0
        while self.executor.clock_s < horizon_s:
            trial = study.ask(self._distributions)
            ms, accuracy = self.tried(self.plan(trial.params))
            over = 0 if accuracy is not None else over + 1
            if accuracy is None and self._name != "nsga2" and over <= PATIENCE:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
                continue
            trial.set_constraint("limit", max(0.0, ms / self.landscape.budget_ms - 1))
            study.tell(trial, [ms, 1 - (accuracy or 0.0)])

    def plan(self, drawn: Mapping[str, Value]) -> Plan:
        """The plan of drawn parameters."""
        like = Plan(recovery=self.landscape.space.default_recovery)
        plan = self.landscape.sites.assemble([int(drawn[site.name]) for site in self.landscape.sites], like)
        return self._recovery.apply(plan, drawn) if self._recovery else plan


class Grid(Rival):
    """Uniform designs: 9 widths in 3 precisions, or 27 widths where there is one; the coarse picture first."""

    def run(self, horizon_s: float) -> None:
        for plan in self._designs():
            if self.executor.clock_s >= horizon_s:
                return
            self.tried(plan)

    def _designs(self) -> Iterator[Plan]:
        bits = _precisions(self.landscape)
        widths = np.linspace(1.0, 0.1, max(1, GRID // len(bits)))
        for i in sorted(range(len(widths)), key=_reversed_bits):
            for width in bits:
                yield self.landscape.space.uniform(float(widths[i]), width, self.landscape.space.default_recovery)


class Pipeline(Rival):
    """One method after the other: how wide (trained in full precision), then how many bits for the best of those, then
    how to teach what is best of all. Each step keeps what the step before it decided."""

    WIDTHS = 9

    def run(self, horizon_s: float) -> None:
        space, executor = self.landscape.space, self.executor
        pruned: list[Plan] = []
        for width in np.linspace(1.0, 0.1, self.WIDTHS):
            plan = space.uniform(float(width), 32, space.default_recovery)
            if executor.clock_s >= horizon_s:
                return
            self.gate_ms(plan)
            self.accuracy(plan)  # over the budget too: fewer bits may bring it under
            pruned.append(plan)
        for plan in pruned:
            for bits in _precisions(self.landscape)[1:]:
                axis = BitsAxis(space.ground)
                values = {f"bits_{i}": str(bits) for i in range(len(axis.regions()))}
                if executor.clock_s < horizon_s:
                    self.tried(axis.apply(plan, values))
        taught = next((axis for axis in space.axes if isinstance(axis, RecoveryAxis)), None)
        if taught is None:
            return
        random_ = random.Random(self.seed)
        while executor.clock_s < horizon_s:
            fitting = [f for f in executor.found if f.latency_ms <= self.landscape.budget_ms]
            if not fitting:
                return
            best = random_.choice(fitting).plan
            self.tried(taught.apply(replace(best, recovery=None), _drawn(taught, random_)))


def _drawn(axis: RecoveryAxis, random_: random.Random) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for name, parameter in axis.parameters().items():
        if isinstance(parameter, Number):
            low, high = (np.log([parameter.low, parameter.high])) if parameter.log else (parameter.low, parameter.high)
            value = random_.uniform(low, high)
            values[name] = float(np.exp(value)) if parameter.log else value
        else:
            values[name] = random_.choice(parameter.options)
    return values


def _precisions(landscape: Landscape) -> tuple[int, ...]:
    axis = next((axis for axis in landscape.space.axes if isinstance(axis, BitsAxis)), None)
    return axis.offered() if axis else (32,)


def _reversed_bits(i: int) -> int:
    return int(f"{i:08b}"[::-1], 2)


def _optuna_sampler(name: str, seed: int) -> optuna.samplers.BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if name == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        if name == "nsga2":
            return optuna.samplers.NSGAIISampler(seed=seed, population_size=20)
        return optuna.samplers.TPESampler(seed=seed, multivariate=True, n_startup_trials=10)


RIVALS: Mapping[str, Callable[[Landscape, SimulatedExecutor, int], Rival]] = {
    "random": lambda landscape, executor, seed: Flat(landscape, executor, seed, "random"),
    "nsga2": lambda landscape, executor, seed: Flat(landscape, executor, seed, "nsga2"),
    "tpe": lambda landscape, executor, seed: Flat(landscape, executor, seed, "tpe"),
    "grid": Grid,
    "pipeline": Pipeline,
}
