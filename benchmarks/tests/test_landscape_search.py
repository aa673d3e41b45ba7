"""How landscapes are searched: on simulated time, scored by the truth, beside rivals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("moocore")
pytest.importorskip("pymoo")


from autocompress.errors import UnknownName
from autocompress.search.evaluate.job import Job
from autocompress.search.pareto import dominates
from autocompress.search.pareto import non_dominated as slowly_non_dominated
from autocompress.search.propose.by_hand import uniform
from autocompress.spaces.space import Space
from autocompress.spaces.spec import StudentSpec
from benchmarks.landscapes.by_roles import factorial, role_classes
from benchmarks.landscapes.executor import PARTS, TARGET, Found, Prices, SimulatedExecutor
from benchmarks.landscapes.landscape import Floats, row
from benchmarks.landscapes.network import TEACHER_MS
from benchmarks.landscapes.ours import make_search
from benchmarks.landscapes.problems import LEVELS, TestProblem
from benchmarks.landscapes.reference import searched_front
from benchmarks.landscapes.report import block, passing_words
from benchmarks.landscapes.rivals import RIVALS
from benchmarks.landscapes.score import MOMENTS, Curve, hypervolume, non_dominated, shares
from benchmarks.landscapes.simulated import SimulatedNetwork

TestProblem.__test__ = False  # type: ignore[attr-defined]  # no test class, whatever its name


@pytest.fixture(scope="module")
def network() -> SimulatedNetwork:
    return SimulatedNetwork(20, seed=1, flavour="interacting")


def taught(space: Space, indices: Sequence[int]) -> StudentSpec:
    """A student of this design, taught as by default."""
    return space.spec(space.assemble(indices, space.taught))


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


def test_a_share_is_told_by_time_and_by_trainings() -> None:
    curve = Curve("p", "ours", 0, tuple(i / 100 for i in range(1, 101)), 1, 0.0, trainings=200)
    assert [curve.at(part) for part in (0.0, 0.25, 1.0)] == [0.0, 0.25, 1.0]
    assert [curve.after(count) for count in (1, 50, 101, 200, 201)] == [0.0, 0.25, 0.5, 1.0, None]


def test_a_report_tells_the_search_from_the_best_rival_of_each_moment() -> None:
    def curve(method: str, seed: int, *values: float) -> Curve:
        return Curve("p", method, seed, values, 1, 0.0, trainings=100)

    early = [curve("grid", seed, 0.4, 0.4, 0.4, 0.4) for seed in range(2)]
    late = [curve("tpe", seed, 0.1, 0.3, 0.5, 0.7) for seed in range(2)]
    ours = [curve("ours", 0, 0.4, 0.5, 0.6, 0.8), curve("ours", 1, 0.4, 0.5, 0.6, 0.7)]
    lines = block([*early, *late, *ours])
    assert "after 100" in lines[1] and "after 300" not in lines[1]
    assert lines[2].split()[:5] == ["ours", "0.400", "0.500", "0.600", "0.750"]
    difference = next(line for line in lines if line.startswith("ours - best rival"))
    assert "+0.000 ± 0.000" in difference and "+0.050 ± 0.635" in difference
    assert lines[-1].split()[2:6] == ["grid", "grid", "tpe", "tpe"]


@pytest.mark.parametrize("flavour, axes", [("interacting", 4), ("dominant", 4)])
def test_uniform_designs_by_role_are_a_factorial_from_the_middle_out(flavour: str, axes: int) -> None:
    network = SimulatedNetwork(20, 0, flavour)
    classes = role_classes(network)
    assert len(classes) >= axes and classes[0].saved_ms >= classes[1].saved_ms
    for count in (3, 4):
        designs = factorial(network, count)
        assert len(designs) == len(np.unique(designs, axis=0)) == 3**count
        for known in classes[:count]:
            assert len(np.unique(designs[:, known.places[0]])) == 3
        levels = [len(network.space.network[known.places[0]].options) - 1 for known in classes[:count]]
        middle = [designs[0, known.places[0]] for known in classes[:count]]
        assert all(0 < at < most for at, most in zip(middle, levels, strict=True))
    assert 16 < len(factorial(TestProblem("zdt1", 8, 0, False), 3)) <= LEVELS + 10


@pytest.mark.parametrize("method", ["ours", "grid", "uniform27"])
def test_without_a_budget_the_slow_end_of_the_front_counts_too(method: str, tmp_path: Path) -> None:
    network = SimulatedNetwork(20, 1, "dominant", has_budget=False)
    assert network.budget_ms == TEACHER_MS and network.name.endswith("-whole")
    executor = SimulatedExecutor(network)
    if method == "ours":
        make_search(network, executor, tmp_path, seed=0).run(lambda: executor.clock_s >= 2500, lambda _: None)
    else:
        RIVALS[method](network, executor, 0).run(2500.0)
    half_ms = TEACHER_MS / 2
    slow = [found.latency_ms > half_ms for found in executor.found]
    assert any(slow) and not all(slow)


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
        make_search(network, SimulatedExecutor(network), tmp_path, 0, ("doubts",))  # type: ignore[arg-type]


def test_the_searched_reference_lies_beyond_what_anybody_finds(network: SimulatedNetwork) -> None:
    front = searched_front(network, generations=20, rounds=5)
    space = network.space
    grid = [space.uniform({"channels": w, "bits": b}) for w in np.linspace(0.1, 1, 19).tolist() for b in (8, 16, 32)]
    designs = np.array([space.indices(plan) for plan in grid])
    found = np.stack([network.latency_ms(designs), network.best_error(designs)], axis=1)
    assert hypervolume(found, network) < hypervolume(front, network)
    assert not any(dominates(tuple(a), tuple(b)) for a in found for b in front)
