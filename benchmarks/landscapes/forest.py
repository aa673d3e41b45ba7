"""NSGA-II led by a random forest: what one would put together from pymoo and scikit-learn."""

from __future__ import annotations

import numpy as np

from .by_roles import factorial
from .executor import SimulatedExecutor
from .landscape import Floats, Ints, Landscape
from .rival import Rival
from .score import hypervolume, non_dominated

BATCH = 8
TREES = 50
POPULATION = 80
GENERATIONS = 20
ROLES = 3


class Forest(Rival):
    """27 role-wise uniform designs, then batches that a forest of the error proposes.

    The forest learns the error from the choices. NSGA-II looks for the front of its predictions and of the exact
    latency; a batch is what gains most hypervolume, one after the other, by the predictions.
    """

    def __init__(self, landscape: Landscape, executor: SimulatedExecutor, seed: int) -> None:
        """Search `landscape` with the jobs of `executor`."""
        super().__init__(landscape, executor, seed)
        self._highest = np.array([len(variable.options) - 1 for variable in landscape.space.network])
        self._known: set[tuple[int, ...]] = set()
        self._designs: list[tuple[int, ...]] = []
        self._found: list[tuple[float, float]] = []  # (latency_ms, error) of what was trained
        self._rng = np.random.default_rng(seed)

    def run(self, horizon_s: float) -> None:
        """Search until the clock passes `horizon_s`."""
        batch = factorial(self.landscape, ROLES)
        while len(batch) and self.executor.clock_s < horizon_s:
            for design in batch:
                if self.executor.clock_s < horizon_s:
                    self._try(tuple(design.tolist()))
            batch = self._next()

    def _try(self, design: tuple[int, ...]) -> None:
        space = self.landscape.space
        self._known.add(design)
        ms, accuracy = self.tried(space.assemble(design, space.taught))
        if accuracy is not None:
            self._designs.append(design)
            self._found.append((ms, 1 - accuracy))

    def _next(self) -> Ints:
        from sklearn.ensemble import RandomForestRegressor

        if len(self._designs) < 2:
            return self._drawn(BATCH)
        forest = RandomForestRegressor(TREES, max_features=1 / 3, random_state=int(self._rng.integers(2**31)))
        found = np.array(self._found)
        forest.fit(np.array(self._designs) / self._highest, found[:, 1])
        candidates = self._evolved(forest, found)
        new = [i for i, design in enumerate(candidates) if tuple(design.tolist()) not in self._known]
        candidates = np.unique(np.concatenate([candidates[new], self._drawn(BATCH)]), axis=0)
        predicted = _predicted(self.landscape, forest, self._highest, candidates)
        return candidates[self._best(predicted, found)]

    def _best(self, predicted: Floats, found: Floats) -> list[int]:
        """Return the candidates of the next batch, by what they add to the front that was found."""
        chosen: list[int] = []
        fits = predicted[:, 0] <= self.limit_ms
        front = found[non_dominated(found)]
        for _ in range(min(BATCH, int(fits.sum()))):
            open_ = [i for i in np.flatnonzero(fits) if i not in chosen]
            gains = [hypervolume(np.concatenate([front, predicted[i : i + 1]]), self.landscape) for i in open_]
            chosen.append(int(open_[int(np.argmax(gains))]))
            front = np.concatenate([front, predicted[chosen[-1:]]])
            front = front[non_dominated(front)]
        return chosen

    def _drawn(self, count: int) -> Ints:
        """Return new designs at random, between the teacher and a level of their own."""
        level = self._rng.uniform(0, 1, (20 * count, 1))
        designs = np.rint(self._rng.uniform(0, 1, (len(level), len(self._highest))) * level * self._highest)
        fits = self.landscape.latency_ms(designs.astype(np.int64)) <= self.limit_ms
        drawn = [d for d in designs[fits].astype(np.int64) if tuple(d.tolist()) not in self._known][:count]
        return np.array(drawn, dtype=np.int64).reshape(-1, len(self._highest))

    def _evolved(self, forest: object, found: Floats) -> Ints:
        from pymoo.algorithms.moo.nsga2 import NSGA2
        from pymoo.core.problem import Problem
        from pymoo.operators.crossover.ux import UX
        from pymoo.operators.mutation.pm import PM
        from pymoo.operators.repair.rounding import RoundingRepair
        from pymoo.optimize import minimize

        landscape, highest, limit_ms = self.landscape, self._highest, self.limit_ms

        class Predicted(Problem):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__(n_var=len(highest), n_obj=2, n_ieq_constr=1, xl=0, xu=highest, vtype=int)

            def _evaluate(self, x: Floats, out: dict[str, Floats], *_: object, **__: object) -> None:
                out["F"] = _predicted(landscape, forest, highest, np.asarray(x, dtype=np.int64))
                limit = limit_ms if np.isfinite(limit_ms) else 2 * landscape.budget_ms
                out["G"] = out["F"][:, :1] - limit

        best = [self._designs[i] for i in non_dominated(found)][: POPULATION // 2]
        start = np.array(best)[self._rng.integers(0, len(best), POPULATION)]
        some = self._rng.random(start.shape) < 2 / len(highest)
        start = np.where(some, self._rng.integers(0, highest + 1, start.shape), start)
        start[: len(best)] = best
        algorithm = NSGA2(
            pop_size=POPULATION,
            sampling=start,
            crossover=UX(prob=0.9),
            mutation=PM(eta=5, repair=RoundingRepair()),
        )
        seed = int(self._rng.integers(2**31))
        result = minimize(Predicted(), algorithm, ("n_gen", GENERATIONS), seed=seed)
        return np.asarray(result.pop.get("X"), dtype=np.int64)


def _predicted(landscape: Landscape, forest: object, highest: Ints, designs: Ints) -> Floats:
    """Return (latency_ms, predicted error) [n, 2]."""
    choices = (designs / highest).astype(np.float32)
    # what `forest.predict` does, without its pool of workers, which takes longer than the trees
    trees = [tree.tree_.predict(choices)[:, 0] for tree in forest.estimators_]  # type: ignore[attr-defined]
    error = np.mean(trees, axis=0)
    return np.stack([landscape.latency_ms(designs), error], axis=1)
