"""The place of the experiment: a tiny task, a study over it, and its search as a process that can be hurt."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import psutil

TASK = Path(__file__).parents[2] / "tests" / "helpers" / "tiny_task.py"
SITE = os.pathsep.join([str(Path(__file__).with_name("site")), *filter(None, [os.environ.get("PYTHONPATH")])])
STUDY = """
[task]
from = "{task}"
[target]
batch = 32
profile_seconds = 0
precision = 0.5
[recovery]
epochs = 2.0
rungs = [0.5, 1.0]
batch_size = 64
[space]
axes = ["channels", "bits", "recovery"]
[search]
without = ["latency_model", "sensitivity", "initial_design"]
"""
Role = Literal["driver", "worker", "timing"]
REPORTED = re.compile(r"\] trial (\d+) \(.*?\): (finished|gated|stopped|failed)")
LIVES_S = 10.0
"""Seconds that what belongs to a search may live on when its driver is dead."""


@dataclass
class Run:
    """One run of a search, from its start to its end, with everything that it says.

    Attributes:
        process: The driver.
        family: Every process that was ever seen below it.
        said: Lines on standard output and standard error.
    """

    process: subprocess.Popen[str]
    family: dict[int, psutil.Process] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line)

    @property
    def alive(self) -> bool:
        """Whether the driver runs."""
        return self.process.poll() is None

    def reported(self) -> list[tuple[int, str]]:
        """Return number and outcome of the trials that this run said had ended."""
        found = (REPORTED.search(line) for line in list(self.said))
        return [(int(match[1]), match[2]) for match in found if match]

    def members(self, role: Role) -> list[psutil.Process]:
        """Return the living processes of a role."""
        self.look()
        return [p for p in self.family.values() if _role(p, self.process.pid) == role and _lives(p)]

    def look(self) -> None:
        """Note who is below the driver."""
        with contextlib.suppress(psutil.Error):
            driver = psutil.Process(self.process.pid)
            for process in (driver, *driver.children(recursive=True)):
                self.family[process.pid] = process

    def wait(self, until: Callable[[], bool], seconds: float) -> bool:
        """Wait until something holds, the driver is gone, or so many seconds are over; tell whether it holds."""
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            self.look()
            if until():
                return True
            if not self.alive:
                return until()
            time.sleep(0.05)
        return until()

    def wait_for_trials(self, count: int, seconds: float = 300.0) -> bool:
        """Wait until so many trials of this run have ended."""
        return self.wait(lambda: len(self.reported()) >= count, seconds)

    def wait_for_end(self, seconds: float = 300.0) -> int | None:
        """Wait for the end of the driver; its exit code, None where it goes on."""
        self.wait(lambda: not self.alive, seconds)
        self._reader.join(5.0)
        return self.process.poll()

    def orphans(self, seconds: float = LIVES_S) -> int:
        """Return how many of the family outlive the driver by so many seconds, and end them."""
        end_s = time.monotonic() + seconds
        while (left := [p for p in self.family.values() if _lives(p)]) and time.monotonic() < end_s:
            time.sleep(0.1)
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        return len(left)

    def kill(self) -> None:
        """End the driver and all its family at once, as a power cut does."""
        self.look()
        for process in self.family.values():
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGSTOP)
        self.look()
        for process in self.family.values():
            with contextlib.suppress(psutil.Error):
                process.kill()
        self.process.wait()
        self._reader.join(5.0)

    def text(self) -> str:
        """Return everything that it said."""
        return "".join(self.said)

    @property
    def complaint(self) -> str:
        """The line that it ended with, where it ended with one; `traceback` where it ended with that."""
        if "Traceback (most recent call last)" in self.text():
            return "traceback"
        lines = [line.strip() for line in self.said if line.startswith("autocompress: ")]
        return lines[-1].removeprefix("autocompress: ") if lines else ""


@dataclass(frozen=True)
class Arena:
    """A folder with a task, a study file and the study's own folder.

    Attributes:
        folder: Everything lies in it.
        workers: Worker processes; 1 searches in the driver's own process.
        runs: Where studies are kept.
        executor: Words of the command for another executor.
        program: What does commands.
    """

    folder: Path
    workers: int
    runs: Path
    executor: tuple[str, ...] = ()
    program: tuple[str, ...] = (sys.executable, "-P", "-m", "autocompress")

    @classmethod
    def make(cls, folder: Path, workers: int = 2, runs: Path | None = None) -> Arena:
        """Lay a task and a study file into a new folder."""
        (folder / "tmp").mkdir(parents=True, exist_ok=True)
        task = Path(shutil.copy(TASK, folder / "tiny_task.py"))
        (folder / "faulty.toml").write_text(STUDY.format(task=task))
        return cls(folder, workers, runs or folder / "runs")

    @property
    def study(self) -> Path:
        """The study's folder."""
        return self.runs / "faulty"

    @property
    def left_behind(self) -> list[Path]:
        """What searches left in the temporary folder, but for locks of the quiet rule and files of libraries."""
        kept = ("autocompress-quiet", "torchinductor", ".ses", "mat-debug")  # the last two are ONNX Runtime's
        return [path for path in (self.folder / "tmp").iterdir() if not path.name.startswith(kept)]

    def start(self, trials: int, environment: Mapping[str, str] | None = None) -> Run:
        """Start the search, or resume it; there is one command for both.

        Args:
            trials: Of this run.
            environment: What it finds beside the usual variables.
        """
        words = ("search", self.folder / "faulty.toml", "--trials", trials, "--runs", self.runs, "--quiet")
        executor = self.executor or (("--workers", self.workers) if self.workers > 1 else ())
        return Run(self._begin([*words, *executor], environment))

    def command(self, *words: object, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        """Run another command to its end."""
        process = self._begin([*words], None, prefix)
        said, _ = process.communicate(timeout=300)
        return subprocess.CompletedProcess(process.args, process.returncode, said, "")

    def _begin(
        self, words: list[object], environment: Mapping[str, str] | None, prefix: tuple[str, ...] = ()
    ) -> subprocess.Popen[str]:
        own = {
            "AUTOCOMPRESS_CACHE": str(self.folder / "cache"),
            "TMPDIR": str(self.folder / "tmp"),  # what is left there is counted
            "OMP_NUM_THREADS": "1",
            "PYTHONUNBUFFERED": "1",
        }
        return subprocess.Popen(
            [*prefix, *self.program, *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
            env={**os.environ, **own, **(environment or {})},
            start_new_session=True,
        )


def _lives(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _role(process: psutil.Process, driver: int) -> str:
    if process.pid == driver:
        return "driver"
    with contextlib.suppress(psutil.Error):
        words = " ".join(process.cmdline())
        if "evaluators.timing.child" in words:
            return "timing"
        if "multiprocessing.spawn" in words or "multiprocessing-fork" in words:
            return "worker"
    return "other"
