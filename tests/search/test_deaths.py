"""Trials that processes die of, and workers that die: what the driver makes of them.

Jobs are simulated, all else is the real thing.
"""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path

import pytest
from simulation import HOUR_S, Problem, SimulatedExecutor, make_driver, make_problem

from autocompress.errors import ConditionsChanged
from autocompress.files import read_json, write_json
from autocompress.search.deaths import MOST_LOST
from autocompress.search.evaluate.job import Job, JobResult, Step
from autocompress.search.executors.base import JobLost, WorkerDied
from autocompress.search.trial import Origin, Trial, TrialState
from autocompress.spaces.plain import from_plain, to_plain

VICTIM = 8


@pytest.fixture(scope="module")
def problem() -> Problem:
    return make_problem()


class Dying(SimulatedExecutor):
    """Workers of their own processes, which die of one trial at one step."""

    apart = True
    step: Step = "gate"
    deaths = 2

    def submit(self, job: Job) -> Future[JobResult]:
        if job.number == VICTIM and job.step == self.step and self.deaths:
            self.deaths -= 1
            future: Future[JobResult] = Future()
            future.set_exception(WorkerDied("the process that did it died (SIGSEGV)"))
            return future
        return super().submit(job)


@pytest.mark.parametrize("step", ["gate", "build"])
def test_a_trial_that_two_workers_died_of_is_given_up_and_the_search_goes_on(
    problem: Problem, tmp_path: Path, step: Step
) -> None:
    executor = Dying(problem)
    executor.step = step
    driver = make_driver(problem, executor, tmp_path, max_trials=12)
    driver.run(lambda: executor.clock_s > 20 * HOUR_S, lambda _: None)
    trials = {trial.number: trial for trial in driver.trials}
    victim = trials.pop(VICTIM)
    assert victim.state is TrialState.FAILED and not victim.measured
    assert "died twice" in victim.reason and "SIGSEGV" in victim.reason and "\n" not in victim.reason
    assert len(trials) > 6 and all(trial.state is not TrialState.FAILED for trial in trials.values())


def test_a_worker_that_died_once_costs_no_trial(problem: Problem, tmp_path: Path) -> None:
    executor = Dying(problem)
    executor.deaths = 1
    driver = make_driver(problem, executor, tmp_path, max_trials=12)
    driver.run(lambda: executor.clock_s > 20 * HOUR_S, lambda _: None)
    assert executor.deaths == 0
    assert all(trial.state is not TrialState.FAILED for trial in driver.trials)


@pytest.mark.parametrize(
    "error", [JobLost("node-7 is gone"), RuntimeError("what\na transport says"), TypeError("cannot be unpickled")]
)
@pytest.mark.parametrize("times", [MOST_LOST - 1, MOST_LOST])
def test_what_is_lost_with_a_machine_is_tried_again_and_given_up_at_last(
    problem: Problem, tmp_path: Path, error: Exception, times: int
) -> None:
    """Whatever a future raises that is not of the study ends no search."""

    class Losing(SimulatedExecutor):
        apart = True
        left = times

        def submit(self, job: Job) -> Future[JobResult]:
            if job.number != VICTIM or not self.left:
                return super().submit(job)
            self.left -= 1
            future: Future[JobResult] = Future()
            future.set_exception(error)
            return future

    executor = Losing(problem)
    driver = make_driver(problem, executor, tmp_path, max_trials=12)
    driver.run(lambda: executor.clock_s > 20 * HOUR_S, lambda _: None)
    victim = next(trial for trial in driver.trials if trial.number == VICTIM)
    assert (victim.state is TrialState.FAILED) == (times == MOST_LOST)
    if times == MOST_LOST:
        assert f"was lost {MOST_LOST} times while measuring its shape" in victim.reason
        assert " ".join(str(error).split()) in victim.reason and "\n" not in victim.reason
    assert victim.deaths == 0 and len(driver.trials) > 7


def test_a_job_that_takes_far_longer_than_others_is_given_up(
    problem: Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hanging(SimulatedExecutor):
        """Takes jobs of the victim into its hands, and never ends the first one."""

        hung: Future[JobResult] | None = None
        said = ""

        def submit(self, job: Job) -> Future[JobResult]:
            if job.number == VICTIM and self.hung is None:
                self.hung = Future()
                return self.hung
            return super().submit(job)

        def running_s(self, answer: Future[JobResult]) -> float:
            return 601.0 if answer is self.hung and not answer.done() else 1.0

        def give_up(self, answer: Future[JobResult], why: str) -> None:
            self.said = why
            answer.set_exception(JobLost(why))

        def run_pending(self) -> None:
            if self.waiting:
                super().run_pending()

    executor = Hanging(problem)
    driver = make_driver(problem, executor, tmp_path, max_trials=12)
    driver.run(lambda: executor.clock_s > 20 * HOUR_S, lambda _: None)
    assert "over 600 s" in executor.said
    assert all(trial.state is not TrialState.FAILED for trial in driver.trials) and len(driver.trials) > 7


class Killed(BaseException):
    """Stands for a process that is gone: nothing is written any more."""


class OnesOwn(SimulatedExecutor):
    """Jobs of the driver's own process, which dies of one trial."""

    can_part = True
    folder = Path()
    seen: Trial | None = None
    apart_jobs = 0

    def result(self, job: Job) -> JobResult:
        self.apart_jobs += job.apart
        if job.number == VICTIM and not job.apart:
            path = self.folder / "trials" / f"{VICTIM:04d}" / "plan.json"
            self.seen = from_plain(Trial, read_json(path))
            raise Killed
        if job.apart:
            raise WorkerDied("the process that did it died (SIGABRT)")
        return super().result(job)

    def run_pending(self) -> None:
        _, future = self.waiting[0]
        try:
            super().run_pending()
        except WorkerDied as error:
            future.set_exception(error)


def killed_in_the_midst(problem: Problem, folder: Path, monkeypatch: pytest.MonkeyPatch, can_part: bool) -> None:
    """A run whose process dies of the victim: what it had written before is all that is left."""
    executor = OnesOwn(problem)
    executor.folder, executor.can_part = folder, can_part
    driver = make_driver(problem, executor, folder)
    with monkeypatch.context() as gone, pytest.raises(Killed):
        gone.setattr(type(driver), "_take_leave", lambda self: None)
        driver.run(lambda: False, lambda _: None)
    assert executor.seen is not None and executor.seen.deaths > 0


def test_what_the_driver_died_of_is_done_apart_and_then_given_up(
    problem: Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_in_the_midst(problem, tmp_path, monkeypatch, can_part=True)
    again = OnesOwn(problem)
    driver = make_driver(problem, again, tmp_path, max_trials=4)
    driver.run(lambda: again.clock_s > 20 * HOUR_S, lambda _: None)
    victim = next(trial for trial in driver.trials if trial.number == VICTIM)
    assert again.apart_jobs == 1 and victim.state is TrialState.FAILED
    assert "died twice" in victim.reason and "SIGABRT" in victim.reason
    assert any(trial.number > VICTIM and trial.state is not TrialState.FAILED for trial in driver.trials)


def test_where_nothing_can_be_done_apart_two_deaths_are_enough(
    problem: Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        killed_in_the_midst(problem, tmp_path, monkeypatch, can_part=False)
    again = OnesOwn(problem)
    again.can_part = False
    driver = make_driver(problem, again, tmp_path, max_trials=4)
    driver.run(lambda: again.clock_s > 20 * HOUR_S, lambda _: None)
    victim = next(trial for trial in driver.trials if trial.number == VICTIM)
    assert victim.state is TrialState.FAILED and victim.reason == "died twice in earlier runs" and again.seen is None


def test_a_run_that_is_ended_in_the_midst_of_a_job_blames_nothing(problem: Problem, tmp_path: Path) -> None:
    class Interrupted(SimulatedExecutor):
        can_part = True

        def result(self, job: Job) -> JobResult:
            if job.number == VICTIM:
                raise KeyboardInterrupt
            return super().result(job)

    driver = make_driver(problem, Interrupted(problem), tmp_path)
    with pytest.raises(KeyboardInterrupt):
        driver.run(lambda: False, lambda _: None)
    plan = from_plain(Trial, read_json(tmp_path / "trials" / f"{VICTIM:04d}" / "plan.json"))
    assert plan.deaths == 0 and not plan.state.ended


def test_conditions_that_change_end_the_run_and_burn_no_trial(problem: Problem, tmp_path: Path) -> None:
    class Changed(SimulatedExecutor):
        def run_pending(self) -> None:
            job, future = self.waiting[0]
            if job.number >= VICTIM:
                self.waiting.popleft()
                future.set_exception(ConditionsChanged("governor was performance, is powersave"))
            else:
                super().run_pending()

    driver = make_driver(problem, Changed(problem), tmp_path)
    with pytest.raises(ConditionsChanged, match="governor"):
        driver.run(lambda: False, lambda _: None)
    assert driver.trials and all(trial.state is not TrialState.FAILED for trial in driver.trials)
    again = SimulatedExecutor(problem)
    driver = make_driver(problem, again, tmp_path, max_trials=2)
    driver.run(lambda: again.clock_s > 20 * HOUR_S, lambda _: None)
    assert any(trial.number == VICTIM for trial in driver.trials), "it is gone on with"


def test_what_workers_come_to_while_the_search_ends_is_not_lost(problem: Problem, tmp_path: Path) -> None:
    class Late(SimulatedExecutor):
        """Its jobs come to their end while it is closed."""

        slots = 2

        def run_pending(self) -> None:
            if not self.waiting or self.waiting[0][0].step != "build":
                super().run_pending()

        def close(self) -> None:
            while self.waiting:
                super().run_pending()

    executor = Late(problem)
    driver = make_driver(problem, executor, tmp_path)
    driver.run(lambda: any(job.step == "build" for job, _ in executor.waiting), lambda _: None)
    assert any(trial.finished for trial in driver.trials)
    again = make_driver(problem, SimulatedExecutor(problem), tmp_path)
    assert {trial.number for trial in again.trials} == {trial.number for trial in driver.trials}


def test_a_second_step_whose_first_cannot_be_read_any_more_fails_alone(problem: Problem, tmp_path: Path) -> None:
    driver = make_driver(problem, SimulatedExecutor(problem), tmp_path / "other", max_trials=VICTIM)
    driver.run(lambda: False, lambda _: None)
    tried = next(trial for trial in driver.trials if trial.finished and trial.spec.recovery is not None)
    second = Trial(VICTIM, tried.plan, tried.spec, Origin.BY_HAND, "first pruned, then quantized", after=77)
    write_json(tmp_path / "trials" / f"{VICTIM:04d}" / "plan.json", to_plain(second))
    again = SimulatedExecutor(problem)
    driver = make_driver(problem, again, tmp_path, max_trials=3)
    driver.run(lambda: again.clock_s > 20 * HOUR_S, lambda _: None)
    trials = {trial.number: trial for trial in driver.trials}
    assert trials[VICTIM].state is TrialState.FAILED and "trial 77" in trials[VICTIM].reason
    assert any(trial.number > VICTIM for trial in driver.trials), "and the search goes on"
