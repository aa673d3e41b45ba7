"""The quiet rule: training pauses while a latency is measured, and nobody waits for ever."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import pytest

from autocompress.evaluators.timing.breathing import breathing, in_slices
from autocompress.evaluators.timing.processes import ModelTimes, ProcessTimes
from autocompress.evaluators.timing.quiet import QuietMachine, lock_name
from autocompress.evaluators.timing.statistics import choose_statistic, disturbances
from autocompress.spaces.target import Target

GENEROUS_SECONDS = 60

_OTHER = """
import sys
from pathlib import Path
from autocompress.evaluators.timing.quiet import QuietMachine, lock_name
quiet = QuietMachine(folder=Path(sys.argv[2]))
verb = getattr(quiet, sys.argv[1])
print("ready", flush=True)
with verb():
    print("in", flush=True)
    sys.stdin.readline()
while len(sys.argv) > 3:
    with verb():
        sum(range(300_000))
"""


@contextmanager
def _other(verb: str, folder: Path, *more: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that enters `verb`, stays until a line is sent, and with `more` goes on in a loop."""
    command = [sys.executable, "-c", _OTHER, verb, str(folder), *more]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
    try:
        assert _line(process) == "ready"
        yield process
    finally:
        process.kill()
        process.communicate()


def _line(process: subprocess.Popen[str], seconds: float = GENEROUS_SECONDS) -> str | None:
    assert process.stdout is not None
    # Unbuffered, so that select() sees every line that has not been read yet.
    ready, _, _ = select.select([process.stdout.fileno()], [], [], seconds)
    if not ready:
        return None
    letters = b""
    while (letter := os.read(process.stdout.fileno(), 1)) not in (b"\n", b""):
        letters += letter
    return letters.decode()


def _enter(quiet: QuietMachine, verb: str) -> threading.Event:
    entered = threading.Event()

    def enter() -> None:
        with getattr(quiet, verb)():
            entered.set()

    threading.Thread(target=enter, daemon=True).start()
    return entered


def test_a_training_slice_waits_for_a_measurement_in_another_process(tmp_path: Path) -> None:
    with QuietMachine(folder=tmp_path).measuring(), _other("training_slice", tmp_path) as trainer:
        assert _line(trainer, seconds=0.3) is None
    with _other("training_slice", tmp_path) as trainer:
        assert _line(trainer) == "in"


def test_a_measurement_waits_for_the_slice_under_way(tmp_path: Path) -> None:
    with _other("training_slice", tmp_path) as trainer:
        assert _line(trainer) == "in"
        entered = _enter(QuietMachine(folder=tmp_path), "measuring")
        assert not entered.wait(0.3)
        assert trainer.stdin is not None
        trainer.stdin.write("\n")
        assert entered.wait(GENEROUS_SECONDS)


def test_training_slices_share_the_machine_and_devices_do_not_wait_for_each_other(tmp_path: Path) -> None:
    with _other("training_slice", tmp_path) as trainer:
        assert _line(trainer) == "in"
        with QuietMachine(folder=tmp_path).training_slice():
            pass
        with QuietMachine("cuda", folder=tmp_path).measuring():
            pass


def test_a_measurement_is_not_starved_by_trainers_that_never_pause(tmp_path: Path) -> None:
    with _other("training_slice", tmp_path, "on") as one, _other("training_slice", tmp_path, "on") as two:
        for trainer in (one, two):
            assert _line(trainer) == "in"
            assert trainer.stdin is not None
            trainer.stdin.write("\n")
        quiet = QuietMachine(folder=tmp_path)
        for _ in range(5):
            assert _enter(quiet, "measuring").wait(GENEROUS_SECONDS)
        assert one.poll() is None
        assert two.poll() is None


@pytest.mark.parametrize("verb", ["measuring", "training_slice"])
def test_the_lock_vanishes_with_a_killed_process(tmp_path: Path, verb: str) -> None:
    with _other(verb, tmp_path) as holder:
        assert _line(holder) == "in"
        entered = _enter(QuietMachine(folder=tmp_path), "measuring")
        holder.kill()
        assert entered.wait(GENEROUS_SECONDS)


def test_nesting_is_an_error_and_no_deadlock(tmp_path: Path) -> None:
    quiet = QuietMachine(folder=tmp_path)
    with quiet.training_slice(), pytest.raises(RuntimeError, match="nested"), quiet.measuring():
        pass
    with quiet.measuring():
        pass


def test_two_names_of_one_gpu_are_one_lock() -> None:
    """Taken once each, by whoever measures on both: a process would wait for itself."""
    assert lock_name("cuda") == lock_name("tensorrt") != lock_name("cpu")


def test_a_measurement_that_waits_too_long_says_for_whom_and_goes_on_marked(tmp_path: Path) -> None:
    said: list[str] = []
    with _other("training_slice", tmp_path) as holder:
        assert _line(holder) == "in"
        with QuietMachine(folder=tmp_path, say=said.append, patience_s=0.3).measuring() as beside:
            assert "did not let go" in beside
        if Path("/proc/locks").exists():
            assert f"process {holder.pid}" in beside and f"process {holder.pid}" in said[0]
    with QuietMachine(folder=tmp_path).measuring() as beside:
        assert beside == ""


def test_what_was_measured_beside_others_is_marked() -> None:
    times = ModelTimes(np.ones((9, 5)), np.ones((9, 5)), np.zeros(9), 1.0, 1, 1.0)
    statistic = choose_statistic(Target(), synchronous=True)
    assert disturbances(ProcessTimes((times,)), [statistic]) == []
    assert disturbances(ProcessTimes((times,), beside="measured beside process 7"), [statistic])


def test_long_work_lets_a_measurement_come_in_between(tmp_path: Path) -> None:
    """As building, scoring and sensitivities do."""
    trainer, meter = QuietMachine(folder=tmp_path), QuietMachine(folder=tmp_path)
    measured = threading.Event()

    def measure() -> None:
        with meter.measuring() as beside:
            assert beside == ""
            measured.set()

    def work() -> Iterator[int]:
        for i in range(10_000):
            if i == 1:
                threading.Thread(target=measure, daemon=True).start()
            if measured.is_set():
                return
            measured.wait(0.01)
            yield i

    assert len(list(in_slices(work(), trainer.training_slice, seconds=0.02))) < 9_000
    measured.clear()
    with breathing(trainer.training_slice, seconds=0.02) as breathe:
        threading.Thread(target=measure, daemon=True).start()
        for _ in range(1000):
            breathe()
            if measured.wait(0.01):
                break
    assert measured.is_set()


def test_slices_change_nothing_of_what_is_made() -> None:
    assert list(in_slices(iter(range(50)), nullcontext, seconds=0.0)) == list(range(50))
    assert list(in_slices([], nullcontext)) == []
