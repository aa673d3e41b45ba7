"""Landscapes with a known optimum: the truth they are scored by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("moocore")
pytest.importorskip("pymoo")

from scipy.stats import spearmanr

from autocompress.search.pareto import dominates
from autocompress.search.propose.by_hand import uniform
from autocompress.spaces.plan import Plan
from autocompress.spaces.space import Space
from autocompress.spaces.spec import Recovery, StudentSpec
from benchmarks.landscapes.by_roles import role_classes
from benchmarks.landscapes.executor import PARTS, TARGET
from benchmarks.landscapes.flavours import FLAVOURS
from benchmarks.landscapes.landscape import row
from benchmarks.landscapes.network import TEACHER_MS
from benchmarks.landscapes.problems import LEVELS, NAMES, TestProblem
from benchmarks.landscapes.score import hypervolume, non_dominated
from benchmarks.landscapes.simulated import TEACHER_ERROR, SimulatedNetwork

KNOWN: dict[str, tuple[float, ...]] = {
    "additive": (4.190063077635731, 0.09616654591166529, 0.14508347726148052, 0.0036626902924950413, 4.275256756840561),
    "interacting": (
        4.190063077635731,
        0.09171956393645941,
        0.13451143275373878,
        0.002771174296452242,
        4.275256756840561,
    ),
}
"""Figures of the landscapes whose results were published."""

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
    for flavour in ("additive", "dominant"):
        assert len(SimulatedNetwork(dimensions, 0, flavour).space.network) == dimensions
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


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_the_teacher_is_the_slowest_and_most_accurate(flavour: str) -> None:
    network = SimulatedNetwork(20, 1, flavour)
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


@pytest.mark.parametrize("flavour, known", KNOWN.items())
def test_results_of_versions_can_be_compared(flavour: str, known: tuple[float, ...]) -> None:
    """The two oldest landscapes are what they were when their figures were published."""
    network = SimulatedNetwork(20, 3, flavour)
    design = [i * 7 % len(variable.options) for i, variable in enumerate(network.space.network)]
    spec = taught(network.space, design)
    found = (
        network.latency_ms(row(network, spec))[0],
        network.best_error(row(network, spec))[0],
        network.error(spec, 0.5),
        network.surrogates.sensitivity[network.space.network[4].name][3],
        network.surrogates.latency[TARGET].predict_ms(spec),
    )
    assert found == pytest.approx(known, rel=1e-12)


def test_a_transformer_has_one_embedding_that_carries_most_of_the_cost() -> None:
    network = SimulatedNetwork(61, 0, "dominant")
    roles = [variable.role for variable in network.space.network if variable.axis == "channels"]
    assert {role: roles.count(role) for role in roles} == {"embedding": 1, "heads": 28, "feed-forward": 28}
    assert all(3 <= len(variable.options) <= 6 for variable in network.space.network)
    assert role_classes(network)[0].role == "embedding"
    heads = np.array([variable.role == "heads" for variable in network.space.network])
    fewer_ms = network.latency_ms(np.array([np.zeros_like(heads), heads * 3]))
    assert 0.6 < fewer_ms[1] / fewer_ms[0] < 0.8, "attention is a third of a layer, and a quarter of it stays"


@pytest.mark.parametrize("flavour, low, high", [("superadditive", 0, 0.3), ("dominant", 0, 0.3), ("saturating", 2, 99)])
def test_harm_of_single_changes_does_not_add_up(flavour: str, low: float, high: float) -> None:
    for seed in range(3):
        network = SimulatedNetwork(60, seed, flavour)
        together = np.array(network.space.indices(network.space.uniform({"channels": 0.5})))
        together[[variable.role == "embedding" for variable in network.space.network]] = 0
        alone = np.diag(together)[np.flatnonzero(together)]
        none, both, *each = 1 - network.best_error(np.array([np.zeros_like(alone[0]), together, *alone]))
        assert low < np.log(none / np.array(each)).sum() / np.log(none / both) < high


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("dimensions", [20, 120])
def test_half_of_all_channels_is_a_useful_student_and_the_smallest_is_hardly_any(flavour: str, dimensions: int) -> None:
    network = SimulatedNetwork(dimensions, 0, flavour)
    half = network.space.indices(network.space.uniform({"channels": 0.5, "bits": 8}))
    least = [len(variable.options) - 1 for variable in network.space.network]
    errors = network.best_error(np.array([half, least]))
    assert TEACHER_ERROR + 0.02 < errors[0] < TEACHER_ERROR + 0.05 < 0.9 * errors[1]


def test_misleading_looks_are_shuffled_or_turned_round() -> None:
    found: dict[str, list[float]] = {"heads": [], "feed-forward": []}
    for seed in range(4):
        network = SimulatedNetwork(60, seed, "misleading")
        for role, correlations in found.items():
            places = [i for i, variable in enumerate(network.space.network) if variable.role == role]
            truth = network.best_error(3 * np.eye(60, dtype=np.int64)[places])
            seen = [network.surrogates.sensitivity[network.space.network[i].name][3] for i in places]
            correlations.append(float(spearmanr(seen, truth)[0]))
    assert abs(np.mean(found["heads"])) < 0.3 and np.mean(found["feed-forward"]) < -0.6


def test_a_wrong_latency_model_overrates_what_one_role_saves() -> None:
    network = SimulatedNetwork(60, 0, "wronglatency")
    space = network.space
    off: dict[str, list[float]] = {"heads": [], "feed-forward": []}
    for role, ratios in off.items():
        places = [i for i, variable in enumerate(space.network) if variable.role == role]
        for seed in range(40):
            design = np.zeros(60, dtype=np.int64)
            design[places] = np.random.default_rng(seed).integers(1, 4, len(places))
            spec = space.spec(space.assemble(design.tolist(), Plan()))
            saved_ms = TEACHER_MS - network.latency_ms(row(network, spec))[0]
            ratios.append((TEACHER_MS - network.surrogates.latency[TARGET].predict_ms(spec)) / saved_ms)
    assert np.mean(off["feed-forward"]) == pytest.approx(1.2, abs=0.05)
    assert np.mean(off["heads"]) == pytest.approx(1.0, abs=0.15)
