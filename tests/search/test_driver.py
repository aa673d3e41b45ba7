"""The loop of a search: what waits, what goes on, and what a second run finds again.

Jobs are simulated, all else is the real thing.
"""

from __future__ import annotations

import math
import shutil
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given
from simulation import HOUR_S, OBJECTIVES, RUNGS, Problem, SimulatedExecutor, latency, make_driver, make_problem

from autocompress.search.evaluate.job import Job, JobResult
from autocompress.search.feasibility import Limits
from autocompress.search.loop import Driver
from autocompress.search.promotion import Promotion
from autocompress.search.propose.learned.source import SHARED
from autocompress.search.store.trials import TrialStore
from autocompress.search.trial import Origin, Trial, TrialState
from autocompress.search.waiting import ENOUGH_LOOKS, WaitingRoom, look_tau, trusted
from autocompress.spaces.plan import Plan
from autocompress.spaces.spec import Recovery, StudentSpec
from autocompress.studies.schema import Part

QUICK: tuple[Part, ...] = ("learned",)
"""What is left out where nothing hangs on how plans are proposed: it takes most of the time."""


@pytest.fixture(scope="module")
def problem() -> Problem:
    return make_problem()


def search(
    problem: Problem, folder: Path, hours: float, without: tuple[Part, ...] = ()
) -> tuple[Driver, SimulatedExecutor]:
    executor = SimulatedExecutor(problem)
    driver = make_driver(problem, executor, folder, without)
    driver.run(lambda: executor.clock_s > hours * HOUR_S, lambda _: None)
    return driver, executor


def search_in_time(problem: Problem, folder: Path, hours: float) -> tuple[Driver, SimulatedExecutor]:
    """A search that knows when it is to end."""
    executor, end_s = SimulatedExecutor(problem), hours * HOUR_S
    driver = make_driver(problem, executor, folder, time_left_s=lambda: end_s - executor.clock_s)
    driver.run(lambda: executor.clock_s > end_s, lambda _: None)
    return driver, executor


@pytest.fixture(scope="module")
def two_hours(problem: Problem, tmp_path_factory: pytest.TempPathFactory) -> tuple[Driver, SimulatedExecutor]:
    return search_in_time(problem, tmp_path_factory.mktemp("two_hours"), 2.0)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `short`."""
    return tmp_path_factory.mktemp("short")


@pytest.fixture(scope="module")
def short(problem: Problem, searched: Path) -> Driver:
    """A search of an hour and a half."""
    return search(problem, searched, 1.5)[0]


def test_no_plan_is_paid_for_twice_and_every_limit_holds(problem: Problem, short: Driver) -> None:
    plans = [t.plan for t in short.trials]
    assert len(plans) == len(set(plans)) > 12
    for trial in short.trials:
        assert trial.gate
        if trial.finished and not trial.by_hand:
            assert trial.gate["here"].low_ms <= problem.budget_ms
        if trial.state is TrialState.GATED:
            assert trial.gate["here"].low_ms > problem.budget_ms and "over the budget" in trial.reason
            assert not trial.rungs and not trial.measured
    ends = [t.ended_s for t in short.trials]
    assert ends == sorted(ends), "seconds of searching, in the order the trials ended"  # type: ignore[type-var]


def test_what_one_would_do_by_hand_always_comes_to_its_end(short: Driver) -> None:
    by_hand = [t for t in short.trials if t.by_hand]
    assert len(by_hand) > 3 and all(t.finished for t in by_hand)
    assert [t.number for t in short.trials if t.origin is Origin.TEACHER] == [1], "the teacher comes first"


def test_every_trial_is_what_its_plan_says(problem: Problem, short: Driver) -> None:
    for trial in short.trials:
        assert problem.space.repair(trial.plan) == trial.plan
        assert trial.spec == problem.space.spec(trial.plan)


def test_what_was_taught_once_is_not_taught_again_for_other_bits(short: Driver) -> None:
    trained: dict[str, list[Trial]] = {}
    for trial in short.trials:
        if trial.finished and trial.spec.recovery is not None:
            trained.setdefault(trial.spec.training_key(), []).append(trial)
    assert any(len(alike) > 1 for alike in trained.values()), "uniform pruning stands there in two precisions"
    assert all(sum(bool(t.rungs) for t in alike) == 1 for alike in trained.values())


def test_everybody_goes_on_where_nothing_new_can_be_drawn() -> None:
    promotion = Promotion(Limits(("cpu",)), OBJECTIVES, (0.5, 1.0), 1000, 1000)
    taught = StudentSpec(recovery=Recovery())
    waiting = [replace(t, state=TrialState.WAITING, spec=taught) for t in looked([(0.5, 0.5, 1.0)] * 4)]
    room = WaitingRoom(promotion, waiting)
    gone = []
    while (trial := room.next((), (), math.inf)) is not None:
        gone.append(trial.number)
    assert sorted(gone) == [t.number for t in waiting] and len(room) == 0
    alone = WaitingRoom(promotion, waiting[:1])
    assert alone.next((), (), None) is None, "else one of two goes on"


@pytest.mark.slow
def test_students_wait_at_rungs_and_only_some_go_on(problem: Problem, short: Driver, tmp_path: Path) -> None:
    own = [t for t in short.trials if t.finished and not t.by_hand]
    assert short.waiting > 0 and own
    assert all(len(t.rungs) in (0, len(RUNGS)) for t in own), "through all rungs, or taught before in other bits"
    designs = [t for t in short.trials if t.origin is Origin.DESIGN and t.state is not TrialState.GATED]
    assert designs and all(t.finished for t in designs), "they stand for whole regions"
    everyone, _ = search(problem, tmp_path / "all", 1, ("rungs", *QUICK))
    assert everyone.waiting == 0


@pytest.mark.slow
def test_a_second_run_goes_on_where_the_first_one_ended(
    problem: Problem, short: Driver, searched: Path, tmp_path: Path
) -> None:
    waiting, before = short.waiting, {t.number: t for t in short.trials}
    study = Path(shutil.copytree(searched, tmp_path / "study"))
    second, executor = search(problem, study, -1, QUICK)
    assert second.waiting >= waiting, "students that waited, and those that were under way, wait again"
    assert {t.number: t for t in second.trials} == before
    assert not executor.jobs, "no trial is measured again"
    third, _ = search(problem, study, 0.5, QUICK)
    numbers = [t.number for t in third.trials]
    assert len(set(numbers)) == len(numbers) > len(before)
    assert min(t.ended_s or 0 for t in third.trials if t.number not in before) >= max(
        t.ended_s or 0 for t in before.values()
    ), "seconds of searching go on too"


@pytest.mark.slow
def test_near_the_end_nothing_is_begun_that_cannot_come_to_its_end(two_hours: tuple[Driver, SimulatedExecutor]) -> None:
    _, executor = two_hours
    assert executor.clock_s <= 2 * HOUR_S, "it ends by itself, in time"
    assert executor.clock_s > 1.8 * HOUR_S, "and leaves little unused"


def test_what_a_tighter_budget_stopped_is_proposed_again(problem: Problem, tmp_path: Path) -> None:
    make_driver(problem, SimulatedExecutor(problem), tmp_path)  # makes the store
    spec, over_ms = StudentSpec({"c0": 8}), 2 * problem.budget_ms
    stopped = Trial(
        5, Plan(), spec, Origin.SEARCH, "search", TrialState.GATED, gate={"here": latency(over_ms)}, gate_bytes=1000
    )
    TrialStore(tmp_path, "simulated", OBJECTIVES).end(stopped, None, problem.space)
    for budget_ms, known in ((problem.budget_ms, True), (3 * problem.budget_ms, False)):
        now = replace(problem, budget_ms=budget_ms)
        driver = make_driver(now, SimulatedExecutor(now), tmp_path)
        assert driver.trials == [stopped] and (spec.key() in driver.decisions._proposer._seen) is known


def test_a_number_of_trials_is_kept_and_shown(problem: Problem, tmp_path: Path) -> None:
    executor, seen = SimulatedExecutor(problem), []
    driver = make_driver(problem, executor, tmp_path, max_trials=5)
    assert not driver.run(lambda: False, seen.append), "the space is not exhausted"
    assert len(driver.trials) + driver.waiting == 5
    assert [s.new for s in seen] == sorted(s.new for s in seen) and seen[-1].new == len(driver.trials)
    assert any("teacher" in line and "gate" not in line for s in seen for line in s.running)


@pytest.mark.slow
def test_a_space_that_is_tried_through_is_told(tmp_path: Path) -> None:
    tiny = make_problem(layers=2, budget=2.0)
    fixed = replace(tiny, space=type(tiny.space)(replace(tiny.space.context, axes=("channels",)), tiny.space.axes))
    executor = SimulatedExecutor(fixed)
    driver = make_driver(fixed, executor, tmp_path, QUICK)
    assert driver.run(lambda: executor.clock_s > 500 * HOUR_S, lambda _: None)
    assert driver.waiting == 0, "and everybody went on"


@pytest.mark.parametrize("failing", ["gate", "look", "rung", "build"])
def test_a_job_that_fails_ends_its_trial_alone(problem: Problem, tmp_path: Path, failing: str) -> None:
    class Failing(SimulatedExecutor):
        def result(self, job: Job) -> JobResult:
            if job.step == failing and job.number % 3 == 0:
                return JobResult(failure="it cannot be")
            return super().result(job)

    executor = Failing(problem)
    # without learned plans, fewer are looked at in this time
    driver = make_driver(problem, executor, tmp_path, () if failing == "look" else QUICK)
    driver.run(lambda: executor.clock_s > 0.75 * HOUR_S, lambda _: None)
    failed = [t for t in driver.trials if t.state is TrialState.FAILED]
    assert failed and all(t.reason == "it cannot be" and not t.measured for t in failed)
    assert any(t.finished for t in driver.trials)


@pytest.mark.parametrize("step", ["gate", "rung"])
def test_a_job_that_was_stopped_is_taken_up_by_the_next_run(problem: Problem, tmp_path: Path, step: str) -> None:
    """Ctrl-C breaks a training off: the trial has not failed."""
    stopped: list[int] = []

    class Stopping(SimulatedExecutor):
        def result(self, job: Job) -> JobResult:
            if job.step == step and job.number > 6 and (step == "gate" or job.rung == 1):
                stopped.append(job.number)
                return JobResult(stopped=True)
            return super().result(job)

    executor = Stopping(problem)
    make_driver(problem, executor, tmp_path).run(lambda: bool(stopped), lambda _: None)
    assert stopped
    again = SimulatedExecutor(problem)
    driver = make_driver(problem, again, tmp_path)
    driver.run(lambda: stopped[0] in {t.number for t in driver.trials}, lambda _: None)
    ended = next(t for t in driver.trials if t.number == stopped[0])
    assert ended.state is not TrialState.FAILED
    steps = [(job.step, job.rung) for job in again.jobs if job.number == stopped[0]]
    assert steps[0] == (("gate", 0) if step == "gate" else ("rung", 1)), "what was done is not done again"


def looked(rows: list[tuple[float, float, float]]) -> list[Trial]:
    """rows: first look, accuracy after the first rung, latency (ms)."""
    return [
        Trial(i, Plan(), StudentSpec(), Origin.SEARCH, "search", gate={"cpu": latency(ms)}, first_look=a, rungs=(b,))
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


def test_when_it_is_too_late_for_a_training_what_shares_one_is_tried(
    problem: Problem, two_hours: tuple[Driver, SimulatedExecutor], tmp_path: Path
) -> None:
    begun_late = []
    # the last training may end with the search: then nothing is left to fill
    for hours, (driver, executor) in ((2.0, two_hours), (2.25, search_in_time(problem, tmp_path, 2.25))):
        horizon_s = hours * HOUR_S
        usual_s = driver.decisions.room.seconds_of_a_trial(driver.trials)
        late = [t for t in driver.trials if (t.ended_s or 0.0) - sum(t.seconds.values()) > horizon_s - usual_s / 2]
        assert {t.label for t in late if t.state is TrialState.FINISHED} <= {SHARED}
        assert executor.clock_s <= horizon_s + 60, "each came to its end in time"
        begun_late += late
    assert len(begun_late) > 2


class Hasty(SimulatedExecutor):
    """Jobs that end while the driver thinks about what it begins next."""

    def submit(self, job: Job) -> Future[JobResult]:
        while self.waiting:
            self.run_pending()
        return super().submit(job)


def test_no_worker_waits_while_jobs_are_proposed_for_others(problem: Problem, tmp_path: Path) -> None:
    executor = Hasty(problem, slots=8)
    driver = make_driver(problem, executor, tmp_path / "hasty")
    driver.run(lambda: len(executor.jobs) > 2, lambda _: None)
    began = [(job.number, job.step) for job in executor.jobs[:3]]
    assert began == [(1, "gate"), (2, "gate"), (1, "build")], "the teacher's shape was measured, its file comes next"
