"""Every executor, against the seam's own conformance suite."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from autocompress.errors import UnknownName
from autocompress.search.evaluate.job import Job
from autocompress.search.executors.base import Executor, ExecutorContext, WorkerDied
from autocompress.search.executors.registry import EXECUTORS, make_executor
from autocompress.search.store.logs import worker_log_path
from autocompress.spaces.spec import StudentSpec
from autocompress.testing import ExecutorConformance
from autocompress.testing.executor import result_of

pytestmark = pytest.mark.usefixtures("briefly")


@pytest.mark.slow
class TestLocalExecutor(ExecutorConformance):
    def make_executor(self, context: ExecutorContext) -> Executor:
        return make_executor("local", context, 1)


@pytest.mark.slow
class TestProcessExecutor(ExecutorConformance):
    def make_executor(self, context: ExecutorContext) -> Executor:
        return make_executor("processes", context, 2)


@pytest.mark.slow
@pytest.mark.cluster
class TestRayExecutor(ExecutorConformance):
    def make_executor(self, context: ExecutorContext) -> Executor:
        pytest.importorskip("ray", reason="the extra 'ray' is not installed")
        return make_executor("ray", context, 2)


def test_every_built_in_executor_is_tried_here() -> None:
    assert {"local", "processes", "ray"} <= set(EXECUTORS.names())


def test_an_unknown_executor_is_answered_with_the_nearest() -> None:
    # the name is refused before the context is looked at
    with pytest.raises(UnknownName, match="did you mean 'processes'"):
        make_executor("process", None, 1)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_worker_that_outgrows_itself_is_renewed(
    opened_context: ExecutorContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    from autocompress.search.executors import worker_process

    monkeypatch.setattr(worker_process, "WARM_AFTER_JOBS", 2)
    executor = make_executor("processes", opened_context, 1)
    try:
        pids = []
        for grown in (1 << 40, 1 << 40, -1, 1 << 40):
            monkeypatch.setattr(worker_process, "GROWN_BYTES", grown)
            assert executor.submit(Job(1, StudentSpec(), "gate")).result(timeout=300).latencies
            (worker,) = executor._workers  # type: ignore[attr-defined]
            pids.append(worker._processes[0].pid)
        assert pids[0] == pids[1] != pids[2] == pids[3], "no growth, then growth"
        log = (opened_context.folder / "logs" / "worker-1.log").read_text()
        assert all(f"process {pid}, " in log for pid in pids), "one that takes a place goes on with its log"
    finally:
        executor.close()


@pytest.mark.slow
def test_ctrl_c_while_a_worker_starts_is_the_drivers_alone(opened_context: ExecutorContext) -> None:
    from autocompress.search.executors.worker_process import WorkerProcess

    worker = WorkerProcess(opened_context, 1)
    try:
        os.kill(worker._processes[0].pid, signal.SIGINT)
        until_s = time.monotonic() + 120
        while not (worker.ready or worker.lost) and time.monotonic() < until_s:
            time.sleep(0.1)
        assert worker.ready and not worker.lost
        assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ()), "and the driver gets its own"
    finally:
        worker.end(time.monotonic())


@pytest.mark.slow
@pytest.mark.parametrize("trouble", ["it cannot open the study", "there is no memory for it"])
def test_a_job_to_be_done_apart_that_gets_no_process_costs_itself_alone(
    opened_context: ExecutorContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    """Else each run that goes on with the study would begin with it, and end by it."""
    if "memory" in trouble:
        monkeypatch.setattr("autocompress.search.memory.available_bytes", lambda: 1 << 20)
    executor = make_executor("local", replace(opened_context, folder=tmp_path), 1)  # there is no teacher
    assert getattr(executor, "can_part") == ("memory" not in trouble), "the driver then does it itself"  # noqa: B009
    future = executor.submit(Job(7, StudentSpec(), "gate", apart=True))
    executor.run_pending()
    with pytest.raises(WorkerDied, match="needs about" if "memory" in trouble else "no worker can open the study"):
        future.result(0)


@pytest.mark.slow
@pytest.mark.cluster
def test_a_process_of_a_cluster_that_dies_costs_no_search(opened_context: ExecutorContext) -> None:
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    executor: Any = make_executor("ray", opened_context, 1)
    try:
        answer = executor.submit(Job(1, StudentSpec(), "build"))
        until_s = time.monotonic() + 240
        while not executor.running_s(answer) and time.monotonic() < until_s:
            executor.run_pending()
            time.sleep(0.02)
        (killed,) = workers_of_ray()
        (worker,) = executor.worker_states()
        log = worker_log_path(opened_context.folder, worker.number, worker.host)
        until(lambda: "begins" in printed_to(killed).read_text())
        killed.kill()
        with pytest.raises(WorkerDied, match=r"the process that did it died .*; see .*worker-.*1\.log"):
            result_of(executor, answer)
        again = result_of(executor, executor.submit(Job(1, StudentSpec(), "gate")))
        assert again.latencies, "another one takes its place"
        until(lambda: (executor.run_pending(), "begins building" in log.read_text())[1])
        said = log.read_text()
        assert f"process {killed.pid}, " in said, "what it printed while it opened the study"
        assert "the process that did it died" in said and "trial 1: begins building" in said, "and its last words"
        assert "trial 1: measuring its shape: took" in said, "and what the next one in its place prints"
        answer = executor.submit(Job(1, StudentSpec(), "build"))
    finally:
        executor.close()
    assert answer.done(), "cancelled, or it came to its end in the seconds that were left"
    executor.close()  # a driver closes what it closed before


def printed_to(process: psutil.Process) -> Path:
    """The file that a process prints to."""
    return Path(f"/proc/{process.pid}/fd/1").resolve()


def until(done: Callable[[], object], patience_s: float = 60.0) -> None:
    end_s = time.monotonic() + patience_s
    while not done():
        assert time.monotonic() < end_s, "it never came"
        time.sleep(0.05)


def workers_of_ray() -> list[psutil.Process]:
    """The processes that do jobs for a cluster that was started here."""
    found = []
    for each in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended, or is a zombie
            if "ray::RayWorker" in " ".join(each.cmdline()[:1]):
                found.append(each)
    return found
