"""The loop of a search: what waits, what goes on, and what a second run finds again. Jobs are simulated, all else is
the real thing."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from autocompress.evaluators.measurement import Latency
from autocompress.search.feasibility import Rules
from autocompress.search.loop import Driver
from autocompress.search.trial import SEED, Trial
from autocompress.search.waiting import ENOUGH_LOOKS, WaitingRoom, look_tau, trusted
from autocompress.spaces.plan import Plan, Recovery
from autocompress.studies.schema import BudgetSection, Part
from benchmarks.landscapes.executor import PARTS, Prices, SimulatedExecutor
from benchmarks.landscapes.landscape import Landscape
from benchmarks.landscapes.ours import make_search
from benchmarks.landscapes.run import make_landscape

HOUR_S = 3600.0


@pytest.fixture(scope="module")
def landscape() -> Landscape:
    return make_landscape("network-interacting", 20, 0)


def search(
    landscape: Landscape, folder: Path, hours: float, without: tuple[Part, ...] = ()
) -> tuple[Driver, SimulatedExecutor]:
    executor = SimulatedExecutor(landscape, Prices(train_s=200.0))
    folder.mkdir(exist_ok=True)
    driver = make_search(landscape, executor, folder, 0, without)
    driver.run(lambda: executor.clock_s > hours * HOUR_S, lambda _: None)
    return driver, executor


def test_no_plan_is_paid_for_twice_and_every_limit_holds(landscape: Landscape, tmp_path: Path) -> None:
    driver, _ = search(landscape, tmp_path / "study", 1.5)
    keys = [t.plan.key() for t in driver.trials]
    assert len(keys) == len(set(keys)) > 12
    for trial in driver.trials:
        assert trial.gate is not None
        if trial.finished and not trial.baseline:
            assert trial.gate.low_ms <= landscape.budget_ms
    ends = [t.ended_s for t in driver.trials]
    assert ends == sorted(ends), "seconds of searching, in the order the trials ended"


def test_what_one_would_do_by_hand_always_comes_to_its_end(landscape: Landscape, tmp_path: Path) -> None:
    driver, _ = search(landscape, tmp_path / "study", 1.5)
    by_hand = [t for t in driver.trials if t.baseline]
    assert len(by_hand) > 5 and all(t.finished for t in by_hand)


def test_what_was_taught_once_is_not_taught_again_for_other_bits(landscape: Landscape, tmp_path: Path) -> None:
    driver, _ = search(landscape, tmp_path / "study", 1.5)
    trained: dict[str, list[Trial]] = {}
    for trial in driver.trials:
        if trial.finished and trial.plan.recovery is not None:
            trained.setdefault(trial.plan.training_key(), []).append(trial)
    assert any(len(alike) > 1 for alike in trained.values()), "uniform pruning stands there in two precisions"
    assert all(sum(bool(t.rungs) for t in alike) == 1 for alike in trained.values())


def test_everybody_goes_on_where_nothing_new_can_be_drawn() -> None:
    rules = Rules(BudgetSection(), ("cpu",), {}, ("accuracy", "latency_ms"), (0.5, 1.0), 1000, 1000, 1000, False)
    students = [replace(t, outcome="waiting", plan=Plan(recovery=Recovery())) for t in looked([(0.5, 0.5, 1.0)] * 4)]
    room = WaitingRoom(rules, students)
    gone = []
    while (trial := room.next((), (), math.inf)) is not None:
        gone.append(trial.number)
    assert sorted(gone) == [t.number for t in students] and len(room) == 0
    alone = WaitingRoom(rules, students[:1])
    assert alone.next((), (), None) is None, "else one of two goes on"


def test_students_wait_at_rungs_and_only_some_go_on(landscape: Landscape, tmp_path: Path) -> None:
    driver, _ = search(landscape, tmp_path / "study", 3)
    own = [t for t in driver.trials if t.finished and not t.baseline]
    assert driver.waiting > 0 and own
    assert all(len(t.rungs) in (0, len(PARTS)) for t in own), "through all rungs, or taught before in other bits"
    seeds = [t for t in driver.trials if t.origin == SEED and t.outcome != "gated"]
    assert seeds and all(t.finished for t in seeds), "they stand for whole regions"
    everyone, _ = search(landscape, tmp_path / "all", 3, ("rungs",))
    assert everyone.waiting == 0


def test_a_second_run_goes_on_where_the_first_one_ended(landscape: Landscape, tmp_path: Path) -> None:
    first, _ = search(landscape, tmp_path / "study", 1)
    waiting, before = first.waiting, {t.number: t for t in first.trials}
    second, executor = search(landscape, tmp_path / "study", -1)
    assert second.waiting >= waiting, "students that waited, and those that were under way, wait again"
    assert {t.number: t for t in second.trials} == before
    assert executor.clock_s == Prices().guide_s, "no trial is measured again"
    third, _ = search(landscape, tmp_path / "study", 1)
    numbers = [t.number for t in third.trials]
    assert len(set(numbers)) == len(numbers) > len(before)
    assert min(t.ended_s or 0 for t in third.trials if t.number not in before) >= max(
        t.ended_s or 0 for t in before.values()
    ), "seconds of searching go on too"


def test_near_the_end_nothing_is_begun_that_cannot_come_to_its_end(landscape: Landscape, tmp_path: Path) -> None:
    executor = SimulatedExecutor(landscape, Prices(train_s=200.0))
    driver = make_search(landscape, executor, tmp_path, 0, time_left_s=lambda: 2 * HOUR_S - executor.clock_s)
    driver.run(lambda: executor.clock_s > 2 * HOUR_S, lambda _: None)
    assert executor.clock_s <= 2 * HOUR_S, "it ends by itself, in time"
    assert executor.clock_s > 1.8 * HOUR_S, "and leaves little unused"


def looked(rows: list[tuple[float, float, float]]) -> list[Trial]:
    """rows: first look, accuracy after the first rung, latency (ms)."""
    gate = Latency(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 100, 10, 1, False, 0.0, None)
    return [
        Trial(i, Plan(), "search", gate=replace(gate, p50_ms=ms), first_look=a, rungs=(b,))
        for i, (a, b, ms) in enumerate(rows)
    ]


@given(st.permutations(range(ENOUGH_LOOKS)), st.permutations(range(ENOUGH_LOOKS)))
def test_first_looks_are_trusted_for_what_latency_does_not_tell(a: list[int], b: list[int]) -> None:
    """Large students are better before and after any training: an order by size alone is no reason for trust."""
    by_size = [(0.1 + i / 100, 0.5 + i / 50, 1.0 + i) for i in range(ENOUGH_LOOKS)]
    assert not trusted(looked(by_size))
    same_size = [(i / 20, 0.5 + i / 50, 1.0) for i in range(ENOUGH_LOOKS)]
    assert trusted(looked(same_size)) and look_tau(looked(same_size)) == pytest.approx(1)
    mixed = look_tau(looked([(x / 20, y / 20, float(i)) for i, (x, y) in enumerate(zip(a, b, strict=True))]))
    assert mixed is not None and -1 <= mixed <= 1


def test_first_looks_are_not_trusted_too_soon_or_for_nothing() -> None:
    rising = [(i / 20, 0.5 + i / 50, 1.0) for i in range(ENOUGH_LOOKS)]
    assert not trusted(looked(rising[:-1])), "too few"
    assert not trusted(looked([(a, 1 - b, ms) for a, b, ms in rising])), "the wrong way round"
    assert not trusted(looked([(0.1, b, ms) for _, b, ms in rising])), "looks that say nothing"
