"""What every executor must do, as a test class that a package which brings one runs against it."""

from __future__ import annotations

import contextlib
from concurrent.futures import CancelledError

import pytest

from ..search.evaluate.job import Job
from ..search.executors.base import Executor, ExecutorContext
from ..spaces.spec import Pattern, StudentSpec

PATIENCE_S = 300.0
"""A job that has not ended after this time never will."""


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

    def test_jobs_give_their_results_or_their_failures(self, executor_context: ExecutorContext) -> None:
        """Each job has its own result, and a job that cannot be done breaks nothing else."""
        executor = self.make_executor(executor_context)
        try:
            assert executor.slots >= 1
            groups = executor_context.context.network.groups
            small = StudentSpec({group.name: group.channels // 2 for group in groups})
            futures = [executor.submit(Job(9001 + i, spec, "gate")) for i, spec in enumerate((StudentSpec(), small))]
            # a student of another network: a fault, which must reach the driver as a failure
            wrong = executor.submit(Job(9003, StudentSpec(patterns={"no.such.layer": Pattern("2:4", 0.5)}), "gate"))
            executor.run_pending()
            for future in futures:
                result = future.result(PATIENCE_S)
                assert result.latencies and not result.failure
                assert all(0 < found.low_ms <= found.p50_ms <= found.high_ms for found in result.latencies.values())
                assert result.size_bytes > 0
            assert futures[0].result().size_bytes > futures[1].result().size_bytes, "each job has its own result"
            failed = wrong.result(PATIENCE_S)
            assert failed.failure and not failed.latencies
            again = executor.submit(Job(9004, StudentSpec(), "build"))
            executor.run_pending()
            after = again.result(PATIENCE_S)
            assert after.measured, after.failure
            assert all(file.accuracy >= 0 for file in after.measured.values())
        finally:
            executor.close()

    def test_after_close_nothing_is_left_to_wait_for(self, executor_context: ExecutorContext) -> None:
        """Jobs that did not end are cancelled or broken off."""
        executor = self.make_executor(executor_context)
        futures = [executor.submit(Job(9010 + i, StudentSpec(), "build")) for i in range(executor.slots + 2)]
        executor.close()
        for future in futures:
            # cancelled, broken off or finished: each of them is an end
            with contextlib.suppress(CancelledError):
                future.exception(PATIENCE_S)
