"""What a user would run instead: Optuna on the flat space, a grid of uniform designs, one method after the other.

They pay the same prices on the same executor. A design over the budget costs them the gate alone; there are no rungs,
no initial design and no surrogates.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import optuna

from autocompress.search.evaluate.job import Job
from autocompress.search.propose.by_hand import uniform
from autocompress.search.propose.profile import option_of
from autocompress.spaces.plan import Plan
from autocompress.spaces.variables import Value, Variable

from ..flat_space import flat_parameters, plan_of, precisions, teaching
from .executor import SimulatedExecutor
from .landscape import Landscape

GRID = 27
PATIENCE = 20
"""After so many designs over the budget in a row TPE is told by how much they were; before that it only forgets them,
which serves it better (it crowds into the first pocket under the budget that it is told of)."""


class Rival:
    """One way to search.

    Attributes:
        landscape: What is searched.
        executor: Runs jobs.
        seed: Of all random choices.
        fitting: The finished plans under the budget.
    """

    def __init__(self, landscape: Landscape, executor: SimulatedExecutor, seed: int) -> None:
        """Search `landscape` with the jobs of `executor`."""
        self.landscape, self.executor, self.seed = landscape, executor, seed
        self.fitting: list[Plan] = []
        self._number = 0

    def run(self, horizon_s: float) -> None:
        """Search until the clock passes `horizon_s` or nothing is left to try."""
        raise NotImplementedError("run: search until the clock passes horizon_s")

    def gate_ms(self, plan: Plan) -> float:
        """Return the measured latency (ms) of a new trial's shape."""
        self._number += 1
        job = Job(self._number, self.landscape.space.spec(plan), "gate")
        (latency,) = self.executor.do(job).latencies.values()
        return latency.p50_ms

    def accuracy(self, plan: Plan) -> float:
        """Return the accuracy of the file after full training."""
        spec = self.landscape.space.spec(plan)
        for rung in range(len(self.executor.parts) if spec.recovery else 0):
            self.executor.do(Job(self._number, spec, "rung", rung))
        (file,) = self.executor.do(Job(self._number, spec, "build")).measured.values()
        if file.latency.p50_ms <= self.landscape.budget_ms:
            self.fitting.append(plan)
        return file.accuracy

    def tried(self, plan: Plan) -> tuple[float, float | None]:
        """Return the latency (ms), and the accuracy where that is under the budget."""
        ms = self.gate_ms(plan)
        return ms, self.accuracy(plan) if ms <= self.landscape.budget_ms else None


class Flat(Rival):
    """Optuna with one parameter for each variable."""

    def __init__(self, landscape: Landscape, executor: SimulatedExecutor, seed: int, name: str) -> None:
        """Search with the Optuna sampler of this name."""
        super().__init__(landscape, executor, seed)
        self._name = name

    def run(self, horizon_s: float) -> None:
        """Search until the clock passes `horizon_s`."""
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        study = optuna.create_study(directions=["minimize"] * 2, sampler=_optuna_sampler(self._name, self.seed))
        parameters = flat_parameters(self.landscape.space)
        over = 0
        while self.executor.clock_s < horizon_s:
            trial = study.ask(parameters)
            ms, accuracy = self.tried(plan_of(self.landscape.space, trial.params))
            over = 0 if accuracy is not None else over + 1
            if accuracy is None and self._name != "nsga2" and over <= PATIENCE:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
                continue
            trial.set_constraint("limit", max(0.0, ms / self.landscape.budget_ms - 1))
            study.tell(trial, [ms, 1 - (accuracy or 0.0)])


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
