"""Landscapes with a known optimum: the truth they are scored by, and the clock they are searched on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("moocore")
pytest.importorskip("pymoo")

from scipy.stats import spearmanr

from autocompress.errors import UnknownName
from autocompress.search.evaluate.job import Job
from autocompress.search.pareto import dominates
from autocompress.search.pareto import non_dominated as slowly_non_dominated
from autocompress.search.propose.by_hand import uniform
from autocompress.spaces.plan import Plan
from autocompress.spaces.space import Space
from autocompress.spaces.spec import Recovery, StudentSpec
from benchmarks.landscapes.executor import PARTS, TARGET, Found, Prices, SimulatedExecutor
from benchmarks.landscapes.landscape import Floats, row
from benchmarks.landscapes.network import TEACHER_MS
from benchmarks.landscapes.ours import make_search
from benchmarks.landscapes.problems import LEVELS, NAMES, TestProblem
from benchmarks.landscapes.reference import searched_front
from benchmarks.landscapes.report import passing_words
from benchmarks.landscapes.rivals import RIVALS
from benchmarks.landscapes.score import MOMENTS, Curve, hypervolume, non_dominated, shares
from benchmarks.landscapes.simulated import TEACHER_ERROR, SimulatedNetwork

TestProblem.__test__ = False  # type: ignore[attr-defined]  # no test class, whatever its name


@pytest.fixture(scope="module")
def network() -> SimulatedNetwork:
    return SimulatedNetwork(20, seed=1, flavour="interacting")


def drawn(space: Space, rng: np.random.Generator, at_most: int = 10**6) -> StudentSpec:
    """An untaught student with any options, or any of the first few."""
    indices = [int(rng.integers(min(at_most, len(variable.options)))) for variable in space.network]
    return space.spec(space.assemble(indices, Plan()))


def taught(space: Space, indices: Sequence[int]) -> StudentSpec:
    """A student of this design, taught as by default."""
    return space.spec(space.assemble(indices, space.taught))


@pytest.mark.parametrize("dimensions", [20, 60, 120])
def test_a_simulated_network_has_as_many_decisions_as_asked_for(dimensions: int) -> None:
    assert len(SimulatedNetwork(dimensions, 0, "additive").space.network) == dimensions
    assert len(TestProblem("zdt1", dimensions, 0, True).space.network) == dimensions


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_no_design_beats_the_known_front(name: str, shifted: bool) -> None:
    problem = TestProblem(name, 12, 3, shifted)
    front = problem.reference()
    designs = np.random.default_rng(0).integers(0, LEVELS, (500, 12))
    found = np.stack([problem.latency_ms(designs), problem.best_error(designs)], axis=1)
    assert not any(dominates(tuple(point), tuple(best)) for point in found for best in front)
    assert len(non_dominated(front)) > 1 and (front[:, 1] <= 1).all()
    assert hypervolume(found, problem) < hypervolume(front, problem)


def test_the_teacher_is_the_slowest_and_most_accurate(network: SimulatedNetwork) -> None:
    none = row(network, StudentSpec())
    assert network.latency_ms(none)[0] == pytest.approx(TEACHER_MS)
    assert network.best_error(none)[0] == pytest.approx(TEACHER_ERROR)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_training_only_helps_and_no_teaching_beats_the_best(network: SimulatedNetwork, seed: int) -> None:
    rng = np.random.default_rng(seed)
    recovery = Recovery(float(rng.uniform(1, 10)), float(rng.uniform()), float(rng.uniform(0.003, 0.1)), 0.2)
    spec = replace(drawn(network.space, rng), recovery=recovery)
    errors = [network.error(spec, part) for part in (0.0, *PARTS)]
    assert errors == sorted(errors, reverse=True)
    assert network.best_error(row(network, spec))[0] <= errors[-1] + 1e-12


def test_learning_curves_cross(network: SimulatedNetwork) -> None:
    """Else a first rung would be a verdict."""
    rng = np.random.default_rng(0)
    early, late = [], []
    for _ in range(60):
        spec = drawn(network.space, rng, at_most=3)
        spec = replace(spec, recovery=Recovery(learning_rate=float(np.exp(rng.uniform(-5, -2.5)))))
        early.append(network.error(spec, PARTS[0]))
        late.append(network.error(spec, 1.0))
    assert 0.5 < spearmanr(early, late)[0] < 0.99


def test_sensitivities_rank_variables_about_as_well_as_those_of_a_real_network() -> None:
    found = []
    for seed in range(4):
        network = SimulatedNetwork(60, seed, "additive")
        looks, truth = [], []
        for i, variable in enumerate(network.space.network):
            if variable.axis == "channels":
                half = len(variable.options) // 2
                design = np.zeros((1, len(network.space.network)), dtype=np.int64)
                design[0, i] = half
                looks.append(network.surrogates.sensitivity[variable.name][half])
                truth.append(network.best_error(design)[0])
        found.append(spearmanr(looks, truth)[0])
    assert 0.6 < np.mean(found) < 0.9


def test_predicted_latency_is_off_by_what_it_says(network: SimulatedNetwork) -> None:
    surrogate = network.surrogates.latency[TARGET]
    rng = np.random.default_rng(0)
    off = []
    for _ in range(200):
        spec = drawn(network.space, rng)
        off.append(abs(surrogate.predict_ms(spec) / network.latency_ms(row(network, spec))[0] - 1))
        assert surrogate.predict_ms(spec) == surrogate.predict_ms(spec)
    assert np.median(off) == pytest.approx(surrogate.relative_error, rel=0.25)


def test_another_seed_is_another_network() -> None:
    first, again, other = (SimulatedNetwork(20, seed, "interacting") for seed in (1, 1, 2))
    spec = first.space.spec(uniform(first.space, 0.5, 8))
    assert first.error(spec, 1.0) == again.error(spec, 1.0) != other.error(spec, 1.0)


def test_jobs_cost_their_price_and_nothing_is_paid_twice(network: SimulatedNetwork) -> None:
    prices = Prices()
    executor = SimulatedExecutor(network, prices)
    wide, quantized = (network.space.spec(uniform(network.space, 0.5, bits)) for bits in (32, 8))
    gate = executor.do(Job(1, wide, "gate"))
    assert set(gate.latencies) == {TARGET} and executor.clock_s == prices.gate_s
    for rung in range(len(PARTS)):
        assert executor.do(Job(1, wide, "rung", rung)).accuracy is not None
    assert executor.clock_s == pytest.approx(prices.gate_s + prices.train_s)
    assert set(executor.do(Job(1, wide, "build")).measured) == {TARGET}
    assert [found.spec for found in executor.found] == [wide]
    before_s = executor.clock_s
    executor.do(Job(2, quantized, "rung", 0))
    assert executor.clock_s - before_s == prices.look_s, "bits alone: the same training"


def test_jobs_side_by_side_take_the_time_of_the_longest(network: SimulatedNetwork) -> None:
    executor = SimulatedExecutor(network, slots=2)
    build = executor.submit(Job(1, StudentSpec(), "build"))
    gate = executor.submit(Job(2, network.space.spec(network.space.uniform({"bits": 8})), "gate"))
    executor.run_pending()
    assert gate.done() and not build.done() and executor.clock_s == Prices().gate_s
    executor.run_pending()
    assert build.done() and executor.clock_s == Prices().build_s


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=30))
def test_the_fast_front_is_the_front(points: list[tuple[int, int]]) -> None:
    found: Floats = np.array(points, dtype=float)
    fast = {points[i] for i in non_dominated(found)}
    assert fast == {points[i] for i in slowly_non_dominated(points)}


def test_a_share_is_of_the_truth_and_one_when_all_of_the_front_is_found() -> None:
    problem = TestProblem("zdt1", 8, 0, False)
    best = [taught(problem.space, [level] + [0] * 7) for level in range(LEVELS)]
    truth = [problem.latency_ms(row(problem, spec))[0] for spec in best]
    found = [
        Found(10.0 * i, spec, ms, 1 - problem.error(spec, 1))
        for i, (spec, ms) in enumerate(zip(best, truth, strict=True))
    ]
    curve = shares(found, problem, problem.reference(), 200.0)
    assert len(curve) == MOMENTS and curve[-1] == pytest.approx(1.0)
    assert list(curve) == sorted(curve) and curve[0] < 1
    lucky = Found(0.0, taught(problem.space, [0] + [16] * 7), 1.0, 1.0)
    assert shares([lucky], problem, problem.reference(), 200.0)[-1] < 0.5, "a lucky measurement does not count"


def test_passing_counts_seed_by_seed() -> None:
    def curve(method: str, seed: int, *values: float) -> Curve:
        return Curve("p", method, seed, values, 1, 0.0)

    ours = [curve("ours", 0, 0.2, 0.6, 0.7, 0.8), curve("ours", 1, 0.1, 0.2, 0.3, 0.4)]
    rival = [curve("tpe", 0, 0.1, 0.2, 0.3, 0.6), curve("tpe", 1, 0.3, 0.4, 0.5, 0.5)]
    assert ours[0].passes(0.6) == 0.5 and ours[1].passes(0.5) is None
    assert passing_words(ours, rival) == "tpe: 76% of the time, on 1 of 2 seeds"


@pytest.mark.parametrize("method", sorted(RIVALS))
def test_rivals_end_in_time_and_are_scored(method: str, network: SimulatedNetwork) -> None:
    executor = SimulatedExecutor(network)
    RIVALS[method](network, executor, 0).run(2000.0)
    assert executor.found and executor.clock_s < 2000 + 400


def test_the_search_itself_runs_on_simulated_time(network: SimulatedNetwork, tmp_path: Path) -> None:
    executor = SimulatedExecutor(network, slots=2)
    driver = make_search(network, executor, tmp_path, seed=0)
    driver.run(lambda: executor.clock_s >= 1500, lambda _: None)
    assert driver.trials and any(trial.finished for trial in driver.trials)
    assert sum(trial.finished for trial in driver.trials) == len(executor.found)


def test_only_known_parts_are_left_out(network: SimulatedNetwork, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="rungs"):
        make_search(network, SimulatedExecutor(network), tmp_path, 0, ("doubts",))


def test_the_searched_reference_lies_beyond_what_anybody_finds(network: SimulatedNetwork) -> None:
    front = searched_front(network, generations=20, rounds=5)
    space = network.space
    grid = [space.uniform({"channels": w, "bits": b}) for w in np.linspace(0.1, 1, 19).tolist() for b in (8, 16, 32)]
    designs = np.array([space.indices(plan) for plan in grid])
    found = np.stack([network.latency_ms(designs), network.best_error(designs)], axis=1)
    assert hypervolume(found, network) < hypervolume(front, network)
    assert not any(dominates(tuple(a), tuple(b)) for a in found for b in front)
