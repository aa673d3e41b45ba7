"""Fronts of landscapes that no formula gives, searched on the truth.

They come from the steps that win most time for the error they cost, one after the other, and from NSGA-II (Deb et al.
2002, doi:10.1109/4235.996017); a local search then goes on around both.
"""

from __future__ import annotations

import numpy as np

from .landscape import Floats, Ints, Landscape
from .score import hypervolume

POPULATION = 160
GENERATIONS = 60
BINS, FINE_BINS = 150, 3000
"""The front is kept as the best design in each of so many slices of latency; the last round tells more apart."""
ROUNDS = 15
LEAST_GAIN = 2e-5
"""A round that wins a smaller part of the hypervolume is the last."""
CHUNK = 4096


def searched_front(landscape: Landscape, generations: int = GENERATIONS, rounds: int = ROUNDS) -> Floats:
    """Return (latency_ms, error) [k, 2] of the best of about a hundred thousand designs."""
    designs = np.concatenate([_greedy(landscape), _evolved(landscape, generations)])
    return _values(landscape, _polished(landscape, designs, rounds))


def _highest(landscape: Landscape) -> Ints:
    return np.array([len(variable.options) - 1 for variable in landscape.space.network])


def _uniform(landscape: Landscape) -> Ints:
    """Return designs that take the same part of every variable's options; bits apart from channels."""
    highest = _highest(landscape)
    bits = np.array([variable.axis == "bits" for variable in landscape.space.network])
    pairs = [(a, b) for a in np.linspace(0, 1, 33) for b in (0.0, 0.5, 1.0)]
    return np.array([np.rint(highest * np.where(bits, b, a)) for a, b in pairs], dtype=np.int64)


def _greedy(landscape: Landscape) -> Ints:
    """Return designs from the teacher down, each a step further where that wins most time for the error it adds."""
    highest = _highest(landscape)
    design, path = np.zeros(len(highest), dtype=np.int64), []
    one = np.eye(len(highest), dtype=np.int64)
    while (free := np.flatnonzero(design < highest)).size:
        path.append(design)
        now, *then = _values(landscape, np.concatenate([design[None], design + one[free]]))
        won = now - np.array(then)  # [free, 2] of (latency_ms, error)
        rate = won[:, 0] / np.maximum(-won[:, 1], 1e-9)
        design = design + one[free[int(np.argmax(rate))]]
    return np.array([*path, design])


def _evolved(landscape: Landscape, generations: int) -> Ints:
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.core.problem import Problem
    from pymoo.operators.crossover.sbx import SBX
    from pymoo.operators.mutation.pm import PM
    from pymoo.operators.repair.rounding import RoundingRepair
    from pymoo.optimize import minimize

    highest = _highest(landscape)

    class Truth(Problem):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(n_var=len(highest), n_obj=2, n_ieq_constr=1, xl=0, xu=highest, vtype=int)

        def _evaluate(self, x: Floats, out: dict[str, Floats], *_: object, **__: object) -> None:
            out["F"] = _values(landscape, np.asarray(x, dtype=np.int64))
            out["G"] = out["F"][:, :1] - landscape.budget_ms

    rng = np.random.default_rng(landscape.seed)
    start = np.concatenate([_uniform(landscape), rng.integers(0, highest + 1, (POPULATION - 99, len(highest)))])
    algorithm = NSGA2(
        pop_size=POPULATION,
        sampling=start,
        crossover=SBX(prob=0.9, eta=10, repair=RoundingRepair()),
        mutation=PM(eta=10, repair=RoundingRepair()),
    )
    result = minimize(Truth(), algorithm, ("n_gen", generations), seed=landscape.seed)
    return np.asarray(result.pop.get("X"), dtype=np.int64)


def _polished(landscape: Landscape, designs: Ints, rounds: int) -> Ints:
    """Return what is left of designs and their neighbours, one variable or two apart, when little gets better."""
    rng = np.random.default_rng(landscape.seed)
    designs = _best(landscape, designs)
    volume = hypervolume(_values(landscape, designs), landscape)
    for _ in range(rounds):
        designs = _best(landscape, _with_neighbours(landscape, designs, rng))
        before, volume = volume, hypervolume(_values(landscape, designs), landscape)
        if volume - before < LEAST_GAIN * volume:
            break
    return _best(landscape, _with_neighbours(landscape, designs, rng), FINE_BINS)


def _with_neighbours(landscape: Landscape, designs: Ints, rng: np.random.Generator) -> Ints:
    highest = _highest(landscape)
    one = np.eye(len(highest), dtype=np.int64)
    up, down = rng.integers(0, len(highest), (2, len(highest)))
    near = designs[:, None, :] + np.concatenate([one, -one, one[up] - one[down]])[None]
    return np.concatenate([designs, np.clip(near, 0, highest).reshape(-1, len(highest))])


def _best(landscape: Landscape, designs: Ints, bins: int = BINS) -> Ints:
    """Return the designs under the budget that none beats, at most one in each slice of latency."""
    values = _values(landscape, designs)
    slices = np.floor(bins * values[:, 0] / landscape.budget_ms).astype(int)
    kept: list[int] = []
    best, taken = np.inf, -1
    order = np.lexsort((values[:, 1], slices))
    for i in order:
        if values[i, 0] <= landscape.budget_ms and values[i, 1] < best and slices[i] != taken:
            kept.append(int(i))
            best, taken = values[i, 1], slices[i]
    return designs[kept]


def _values(landscape: Landscape, designs: Ints) -> Floats:
    found = []
    for start in range(0, len(designs), CHUNK):
        some = designs[start : start + CHUNK]
        found.append(np.stack([landscape.latency_ms(some), landscape.best_error(some)], axis=1))
    return np.concatenate(found)
