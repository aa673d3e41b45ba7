"""What becomes of trials that fail: a row of them ends a run, and which of their plans the next run tries again."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest
from simulation import HOUR_S, Problem, SimulatedExecutor, make_driver, make_problem

from autocompress.errors import MeasurementError
from autocompress.search.evaluate.job import Job, JobResult
from autocompress.search.failures import MANY_FAILURES
from autocompress.search.loop import Driver
from autocompress.search.trial import Origin, Trial, TrialState
from autocompress.studies.schema import Part

QUICK: tuple[Part, ...] = ("learned",)
"""What is left out where nothing hangs on how plans are proposed: it takes most of the time."""


@pytest.fixture(scope="module")
def problem() -> Problem:
    return make_problem()


def search(problem: Problem, folder: Path, hours: float) -> Driver:
    executor = SimulatedExecutor(problem)
    driver = make_driver(problem, executor, folder, QUICK)
    driver.run(lambda: executor.clock_s > hours * HOUR_S, lambda _: None)
    return driver


def test_many_failures_in_a_row_end_the_study_with_the_reason(problem: Problem, tmp_path: Path) -> None:
    class Failing(SimulatedExecutor):
        def result(self, job: Job) -> JobResult:
            return JobResult(failure="the disk is gone")

    def fail() -> list[Trial]:
        driver = make_driver(problem, Failing(problem), tmp_path / "broken")
        with pytest.raises(MeasurementError, match=f"last {MANY_FAILURES} trials failed, .* the disk is gone"):
            driver.run(lambda: False, lambda _: None)
        return driver.trials

    def plans(trials: Iterable[Trial]) -> set[str]:
        return {trial.spec.key() for trial in trials}

    first = fail()
    assert len(first) == MANY_FAILURES, "and what failed is kept"
    mended = search(problem, Path(shutil.copytree(tmp_path / "broken", tmp_path / "mended")), 1.0)
    tried_again = plans(trial for trial in mended.trials if trial.state is not TrialState.FAILED)
    assert plans(first) <= tried_again, "no plan is lost by that"
    second = fail()[MANY_FAILURES:]
    assert plans(second) == plans(first)
    third = fail()[2 * MANY_FAILURES :]
    assert len(third) == MANY_FAILURES
    assert len(plans(third) & plans(first)) == 1, "but for the teacher, none is tried for ever"


def test_a_teacher_that_failed_is_tried_by_the_next_run(problem: Problem, tmp_path: Path) -> None:
    """Without it nothing of a study can be compared with anything."""

    class Failing(SimulatedExecutor):
        def result(self, job: Job) -> JobResult:
            if job.number == 1:
                return JobResult(failure="the timing process was killed")
            return super().result(job)

    executor = Failing(problem)
    make_driver(problem, executor, tmp_path, QUICK).run(lambda: executor.clock_s > 0.3 * HOUR_S, lambda _: None)
    driver = search(problem, tmp_path, 0.5)
    teachers = [trial for trial in driver.trials if trial.origin is Origin.TEACHER]
    assert [trial.finished for trial in teachers] == [False, True]
