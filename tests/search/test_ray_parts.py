"""Parts of the executor on Ray that need no cluster, and one that ends before it has begun."""

from __future__ import annotations

import copy
import gc
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from autocompress.errors import MeasurementError, StorageError, TimingHostLost
from autocompress.evaluators.agreement import ControlRatio, difference
from autocompress.evaluators.timing.host import TimingHost
from autocompress.evaluators.timing.processes import TimedFile, TimingRequest
from autocompress.search.evaluate.job import Job
from autocompress.search.executors.base import ExecutorContext, JobLost, WorkerDied
from autocompress.search.executors.ray_deaths import why_ended
from autocompress.search.executors.ray_guard import Guard, Life, Untrusted
from autocompress.search.executors.ray_timing import MOST_KEPT, RayTimingHost, TimingService
from autocompress.spaces.spec import StudentSpec
from autocompress.spaces.target import Target
from autocompress.studies.study_file import StudyFile

LIFE = Life("second", "there", "node 2", False)


def test_a_file_is_kept_until_it_was_timed_however_many_others_are_sent_meanwhile() -> None:
    service = TimingService()
    assert service.lacks(["awaited"]) == ["awaited"]
    for name in ("awaited", *map(str, range(2 * MOST_KEPT))):
        assert service.keep(name, {"model.onnx": b"no model"}) is None
    assert service.lacks(["awaited"]) == [] and service.lacks(["0"]) == ["0"], "others make room"
    request = TimingRequest((TimedFile(Path("awaited") / "model.onnx", Target("onnxruntime")),))
    assert isinstance(service.time(request), Exception), "it is no model"
    for name in map(str, range(MOST_KEPT, 4 * MOST_KEPT)):
        service.keep(name, {"model.onnx": b"no model"})
    assert service.lacks(["awaited"]) == ["awaited"]


def test_a_disk_that_takes_no_file_is_told_of_and_no_trial_is_to_blame() -> None:
    trouble = TimingService().keep("file", {"n" * 300: b""})
    assert isinstance(trouble, TimingHostLost) and "which times files, cannot keep one" in str(trouble)
    assert "\n" not in str(trouble)


def test_a_machine_that_cannot_be_judged_is_not_asked_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autocompress.search.executors.ray_timing.PAUSE_S", 0.01)
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    guard, looks = Guard(Life("first", "here", "node 1", True), print), []

    def judge(machine: TimingHost) -> str:
        looks.append(machine)
        raise TimingHostLost("its disk is full")

    guard.judge = judge
    host = RayTimingHost(None, "here", patience_s=0.2, guard=guard)
    life = Life("second", "there", "node 2", False)
    with pytest.raises(TimingHostLost, match="there took its place, and was not held against it"):
        host._patiently(lambda: Untrusted(life))
    assert len(looks) > 1, "it is looked at again meanwhile"


class Judges:
    """Says of a machine what it is told to, look by look; an error is raised."""

    def __init__(self, *answers: str | Exception) -> None:
        self.answers = list(answers)

    def __call__(self, machine: TimingHost) -> str:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


BUSY = difference(ControlRatio(0.5, 1.0, "there"), ControlRatio(0.5, 0.01, "here"))


@pytest.mark.parametrize("trouble", [BUSY, OSError(5, "Input/output error"), StorageError("the disk is full")], ids=str)
def test_a_machine_of_which_nothing_can_be_told_now_is_looked_at_again(
    trouble: str | Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autocompress.search.executors.ray_retries.PAUSE_S", 0.0)
    said: list[str] = []
    guard, life, host = Guard(Life("first", "here", "node 1", True), said.append), LIFE, RayTimingHost(None, "there")
    guard.judge = Judges(trouble, trouble, "")
    assert guard.verdict(life, host) is None and guard.verdict(life, host) is None
    assert len(said) == 1 and "there waits to time files in place of here, which died" in said[0]
    assert guard.verdict(life, host) == "" and "agrees with it" in said[1]
    assert guard.verdict(life, host) == "", "it is not judged again"


@pytest.mark.parametrize("trouble", [BUSY, OSError(5, "Input/output error")], ids=str)
def test_a_machine_of_which_nothing_can_be_told_for_long_is_refused_and_it_is_said_why(
    trouble: str | Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autocompress.search.executors.ray_retries.PAUSE_S", 0.05)
    monkeypatch.setattr("autocompress.search.executors.ray_retries.PATIENCE_S", 0.0)
    guard, host = Guard(Life("first", "here", "node 1", True), print), RayTimingHost(None, "there")
    guard.judge = Judges(trouble, trouble)
    refused = guard.verdict(LIFE, host)
    assert refused and str(trouble).partition("] ")[2] in refused and "minutes. Run the same command again" in refused
    assert guard.verdict(LIFE, host) is None, "not at once"


def test_a_machine_that_measures_otherwise_or_cannot_is_refused_at_once() -> None:
    for trouble in ("a control takes 0.700 of the teacher's time there", MeasurementError("cannot be timed")):
        guard, host = Guard(Life("first", "here", "node 1", True), print), RayTimingHost(None, "there")
        guard.judge = Judges(trouble)
        assert str(trouble) in str(guard.verdict(LIFE, host))


def test_what_is_said_of_a_job_is_what_became_of_it() -> None:
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    from ray.exceptions import ActorDiedError, ActorUnavailableError, RaySystemError

    unread = why_ended(RaySystemError("System error: No module named 'their_task'"), "host-1")
    assert isinstance(unread, JobLost) and "cannot be read" in str(unread) and "their_task" in str(unread)
    unread = why_ended(ModuleNotFoundError("No module named 'their_task'"), "host-1")
    assert isinstance(unread, JobLost) and "their_task" in str(unread) and "is gone" not in str(unread)
    assert str(why_ended(ActorUnavailableError("out of reach", None), "host-1")) == "host-1 is gone"
    assert str(why_ended(ModuleNotFoundError("x"), "host-1", gone=True)) == "host-1 is gone"
    assert isinstance(why_ended(ActorDiedError(), "host-1"), WorkerDied)


@pytest.mark.slow
@pytest.mark.cluster
def test_a_task_that_cannot_be_sent_is_refused_without_last_words(
    opened_context: ExecutorContext, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    import ray

    from autocompress.search.executors.on_ray import RayExecutor

    teacher = copy.deepcopy(opened_context.context.task.teacher)
    teacher.held = threading.Lock()  # type: ignore[assignment]
    task = replace(opened_context.context.task, teacher=teacher)
    settings = StudyFile().changed("search", executor="ray")
    given = replace(opened_context, context=replace(opened_context.context, task=task), settings=settings)
    with pytest.raises(MeasurementError, match="cannot be sent to other machines"):
        RayExecutor(given, 1)
    assert not ray.is_initialized()
    assert "ended from outside" not in capfd.readouterr().err


@pytest.mark.slow
@pytest.mark.cluster
def test_a_close_that_was_broken_off_is_finished_by_the_next(
    opened_context: ExecutorContext, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A second Ctrl-C, or the end of the seconds after SIGTERM, comes while workers are waited for."""
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    import ray

    from autocompress.search.executors.on_ray import CLOSE_S, RayExecutor

    executor = RayExecutor(
        replace(opened_context, settings=opened_context.settings.changed("search", executor="ray")), 1
    )

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(executor._logs, "close", interrupted)
        with pytest.raises(KeyboardInterrupt):
            executor.close()
    future = executor.submit(Job(1, StudentSpec(), "gate"))
    begun_s = time.monotonic()
    executor.close()
    executor.close()
    assert future.cancelled() and not ray.is_initialized() and time.monotonic() - begun_s < CLOSE_S
    del executor
    gc.collect()
    assert "ended from outside" not in capfd.readouterr().err
