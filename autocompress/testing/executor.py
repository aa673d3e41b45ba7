"""What every executor must do, as a test class that a package which brings one runs against it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future, wait

import pytest

from ..search.evaluate.job import Job, JobResult
from ..search.executors.base import Executor, ExecutorContext, GivesUp, JobLost, TellsWorkers
from ..spaces.spec import Pattern, StudentSpec

POLL_S = 0.05
PATIENCE_S = 300.0
"""A job that has not ended after this time never will."""


def result_of(executor: Executor, answer: Future[JobResult], patience_s: float = PATIENCE_S) -> JobResult:
    """Return what comes of a job, as a driver waits for it: `run_pending` is called again and again."""
    until_s = time.monotonic() + patience_s
    while not answer.done() and time.monotonic() < until_s:
        executor.run_pending()
        wait([answer], POLL_S)
    return answer.result(0)


class ExecutorConformance:
    """Subclass it under a name that begins with Test and fill in `make_executor`; pytest does the rest."""

    def make_executor(self, context: ExecutorContext) -> Executor:
        """Return the executor under test, ready for jobs, with at least one slot."""
        raise NotImplementedError("make_executor: return your executor")

    @pytest.fixture(scope="class")
    @classmethod
    def executor_context(cls, tmp_path_factory: pytest.TempPathFactory) -> ExecutorContext:
        """Open a small study that worker processes can open too."""
        from ..search.evaluate.context import open_context
        from ..studies.checkpoint import save_weights
        from ..studies.study_file import StudyFile

        folder = tmp_path_factory.mktemp("executor")
        settings = StudyFile().changed("task", **{"from": "autocompress.testing.small_task:small_task"})
        settings = settings.changed("target", profile_seconds=0.0, batch=4, precision=0.5).changed(
            "recovery", epochs=1.0
        )
        task = settings.build_task()
        save_weights(task.teacher, folder / "teacher.safetensors")
        return ExecutorContext(open_context(task.prepared(), settings, folder), settings, folder)

    @pytest.fixture(scope="class")
    @classmethod
    def executor(cls, executor_context: ExecutorContext) -> Iterator[Executor]:
        """Make one executor, which does the jobs of all tests in their order; the last one closes it first."""
        made = cls().make_executor(executor_context)
        try:
            yield made
        finally:
            made.close()

    def test_jobs_give_their_results_or_their_failures(
        self, executor: Executor, executor_context: ExecutorContext
    ) -> None:
        """Each job has its own result, and a job that cannot be done breaks nothing else."""
        assert executor.slots >= 1
        groups = executor_context.context.network.groups
        small = StudentSpec({group.name: group.channels // 2 for group in groups})
        futures = [executor.submit(Job(9001 + i, spec, "gate")) for i, spec in enumerate((StudentSpec(), small))]
        # a student of another network: a fault, which must reach the driver as a failure
        wrong = executor.submit(Job(9003, StudentSpec(patterns={"no.such.layer": Pattern("2:4", 0.5)}), "gate"))
        for future in futures:
            result = result_of(executor, future)
            assert result.latencies and not result.failure
            assert all(0 < found.low_ms <= found.p50_ms <= found.high_ms for found in result.latencies.values())
            assert result.size_bytes > 0
        assert futures[0].result().size_bytes > futures[1].result().size_bytes, "each job has its own result"
        failed = result_of(executor, wrong)
        assert failed.failure and not failed.latencies
        again = executor.submit(Job(9004, StudentSpec(), "build"))
        after = result_of(executor, again)
        assert after.measured, after.failure
        assert all(file.accuracy >= 0 for file in after.measured.values())

    def test_a_job_that_is_given_up_is_lost_and_the_next_one_is_done(self, executor: Executor) -> None:
        """For executors that can end single jobs; see `GivesUp`."""
        if not isinstance(executor, GivesUp):
            pytest.skip("this executor cannot end single jobs")
        answer, until_s = executor.submit(Job(9021, StudentSpec(), "build")), time.monotonic() + PATIENCE_S
        while not executor.running_s(answer) and time.monotonic() < until_s:
            executor.run_pending()
            time.sleep(0.05)
        executor.give_up(answer, "took too long")
        with pytest.raises(JobLost, match="took too long"):
            result_of(executor, answer)
        assert executor.running_s(answer) == 0
        assert result_of(executor, executor.submit(Job(9022, StudentSpec(), "gate"))).latencies

    def test_it_is_told_who_works_for_which_trial(self, executor: Executor) -> None:
        """For executors that can tell; see `TellsWorkers`."""
        if not isinstance(executor, TellsWorkers):
            pytest.skip("this executor does not tell who works where")
        sent_s = time.time()
        answer, until_s = executor.submit(Job(9031, StudentSpec(), "build")), time.monotonic() + PATIENCE_S
        while not (busy := [each for each in executor.worker_states() if each.trial is not None]):
            assert time.monotonic() < until_s and not answer.done(), "nobody was seen to do the job"
            executor.run_pending()
            time.sleep(0.02)
        (worker,) = busy
        assert worker.trial == 9031 and worker.host and worker.number >= 1 and worker.doing
        assert sent_s - 1 <= worker.since_s <= time.time() + 1, "seconds since 1970"
        assert result_of(executor, answer).measured
        found = executor.worker_states()
        assert found and all(each.trial is None for each in found), "those with nothing to do are told of too"
        assert len({(each.host, each.number) for each in found}) == len(found), "no two have one number"

    def test_after_close_nothing_is_left_to_wait_for(self, executor: Executor) -> None:
        """Jobs that did not end are cancelled or broken off."""
        futures = [executor.submit(Job(9010 + i, StudentSpec(), "build")) for i in range(executor.slots + 2)]
        executor.close()
        for future in futures:
            # cancelled, broken off or finished: each of them is an end
            with contextlib.suppress(CancelledError):
                future.exception(PATIENCE_S)
