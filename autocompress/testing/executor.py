"""What every executor must do, as a test class that a package which brings one runs against itself.

class TestMyExecutor(ExecutorConformance):
    def make_executor(self, workplace): return MyExecutor(workplace, 2)

A fixture `workplace` must give a `Workplace` over some small task, whose folder holds `teacher.safetensors`.
"""

from __future__ import annotations

import contextlib
from concurrent.futures import CancelledError

from ..search.evaluate.evaluation import Job
from ..search.executors.base import Executor, Workplace
from ..spaces.plan import Pattern, Plan

PATIENCE_S = 300.0
"""A job that has not ended after this time never will."""


class ExecutorConformance:
    """Subclass it under a name that begins with Test and fill in the hook; pytest does the rest."""

    def make_executor(self, workplace: Workplace) -> Executor:
        """The executor under test, ready for jobs."""
        raise NotImplementedError("make_executor: return your executor")

    def test_jobs_give_their_results_or_their_errors(self, workplace: Workplace) -> None:
        executor = self.make_executor(workplace)
        try:
            assert executor.slots >= 1
            ground = workplace.bench.space.ground
            small = workplace.bench.space.uniform(ground.min_fraction, 32, None)
            jobs = [Job(9001, Plan(), "gate"), Job(9002, small, "gate")]
            futures = [executor.submit(job) for job in jobs]
            # a plan for another network: a fault, which must reach the driver as a failure and break nothing else
            wrong = executor.submit(Job(9003, Plan(patterns={"no.such.layer": Pattern("2:4", 0.5)}), "gate"))
            executor.run_pending()
            for future in futures:
                result = future.result(PATIENCE_S)
                assert result.latencies and not result.failure
                assert all(0 < found.low_ms <= found.p50_ms <= found.high_ms for found in result.latencies.values())
                assert result.size_bytes > 0
            assert futures[0].result().size_bytes > futures[1].result().size_bytes, "each job has its own result"
            failed = wrong.result(PATIENCE_S)
            assert "AttributeError" in failed.failure and not failed.latencies
            again = executor.submit(Job(9004, Plan(), "build"))
            executor.run_pending()
            after = again.result(PATIENCE_S)
            assert after.measurement is not None and after.measurement.accuracy > 0
        finally:
            executor.close()

    def test_after_close_nothing_is_left_to_wait_for(self, workplace: Workplace) -> None:
        executor = self.make_executor(workplace)
        futures = [executor.submit(Job(9010 + i, Plan(), "build")) for i in range(executor.slots + 2)]
        executor.close()
        for future in futures:
            # cancelled, broken off or finished: each of them is an end
            with contextlib.suppress(CancelledError):
                future.exception(PATIENCE_S)
