"""Timing of files in a fresh process: what is asked, what comes back, and the process itself.

A process is a random effect of its own: the pages its memory lies on alone make the same file up to 25 % slower,
steadily. So every measurement starts a new process, with huge pages asked of glibc, which removes most of that.

What travels to and from the process is turned into plain types by hand: the process has to start in a few tenths of a
second, so nothing here may import pydantic (as `spaces.plain` does) or torch.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import MeasurementError, RuntimeUnavailable
from ...spaces.target import Target

# Exit codes of the timing process for errors that are told in one line on its standard error.
EXIT_MEASUREMENT = 2
EXIT_UNAVAILABLE = 3

_HUGE_PAGES = "glibc.malloc.hugetlb"
_HANGS_AFTER_SECONDS = 900
_ENDED_BY_OTHERS = tuple(-getattr(signal, name) for name in ("SIGKILL", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Exit codes of a process that somebody ended, a user, a scheduler or a system short of memory; no crash of its own."""
_ARRAYS = ("wall_ms", "cpu_ms", "queue_share")


@dataclass(frozen=True)
class TimedFile:
    """A file and where it is to run.

    Attributes:
        path: The file, or the folder where that is the runtime's form.
        target: Where it runs.
        inputs: An .npz file with a batch of real inputs, in their order; None makes random numbers, and zeros where the
            file takes whole ones.
        length: Of dimensions that the file leaves open besides the batch, where there are no real inputs; None takes no
            such file.
    """

    path: Path
    target: Target
    inputs: Path | None = None
    length: int | None = None


@dataclass(frozen=True)
class TimingRequest:
    """What one timing process does: every file is timed once in every round, beside the first, the reference.

    Each file has its own target, so files of several runtimes can take turns in one process.

    Attributes:
        files: The files.
        precision: Half-width of the 95 % interval of each log-ratio at which it stops.
        min_rounds: Rounds before it may stop.
        max_rounds: Rounds at most; with 0 the files are only loaded and run once.
        max_seconds: Of warm-up and rounds together, after loading.
        seed: Of the order of the files in each round.
        min_calls: Timed inferences of each file before it may stop, whatever the rounds; see `enough`.
    """

    files: tuple[TimedFile, ...]
    precision: float = 0.02
    min_rounds: int = 8
    max_rounds: int = 30
    max_seconds: float = 20.0
    seed: int = 0
    min_calls: int = 0

    @property
    def threads(self) -> int:
        """The most threads that any of the files runs with."""
        return max(file.target.threads for file in self.files)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TimingRequest:
        """Return the request that was written as plain JSON types."""
        files = tuple(_timed(file) for file in data["files"])
        return cls(**{**data, "files": files})


def _timed(file: Mapping[str, Any]) -> TimedFile:
    inputs = file.get("inputs")
    real = None if inputs is None else Path(inputs)
    return TimedFile(Path(file["path"]), Target(**file["target"]), real, file.get("length"))


@dataclass(frozen=True, eq=False)
class ModelTimes:
    """The times of one file in one process.

    Attributes:
        wall_ms: Wall times, [rounds, calls].
        cpu_ms: CPU times of the whole process, [rounds, calls].
        queue_share: Part of each round that was spent waiting for a core, [rounds], nan where it cannot be read.
        load_ms: Time to load the file.
        warmup: Inferences before the first round.
        peak_memory_mb: Of the whole process when this file was the first that it loaded; None if it was not, because
            what one file gives back to the allocator the next one takes unseen.
        energy_mj: Of one inference, None where the machine does not tell.
    """

    wall_ms: NDArray[np.float64]
    cpu_ms: NDArray[np.float64]
    queue_share: NDArray[np.float64]
    load_ms: float
    warmup: int
    peak_memory_mb: float | None = None
    energy_mj: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        numbers = {name: getattr(self, name) for name in ("load_ms", "warmup", "peak_memory_mb", "energy_mj")}
        return {name: _rounded(getattr(self, name)) for name in _ARRAYS} | numbers

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ModelTimes:
        """Return what `to_dict` wrote."""
        return cls(**{**data, **{name: np.array(data[name], dtype=float) for name in _ARRAYS}})


@dataclass(frozen=True, eq=False)
class ProcessTimes:
    """The times of all files of one process; None stands for what cannot be read.

    Attributes:
        models: The times of each file, the reference first.
        pressure: Share of the time in which some task of the machine waited for a core (Linux PSI).
        cpu_mhz: Clock of the CPU while files ran.
        gpu_mhz: Clock of the GPU while files ran.
        beside: Who had the device too, in words; empty where nobody had.
    """

    models: tuple[ModelTimes, ...]
    pressure: float | None = None
    cpu_mhz: float | None = None
    gpu_mhz: float | None = None
    beside: str = ""

    @property
    def reference(self) -> ModelTimes:
        """The times of the first file."""
        return self.models[0]

    @property
    def queue_share(self) -> float | None:
        """Mean part of the time that the files waited for a core, None where it cannot be read."""
        shares = np.concatenate([times.queue_share for times in self.models])
        return None if np.isnan(shares).all() else float(np.nanmean(shares))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        shared = {name: getattr(self, name) for name in ("pressure", "cpu_mhz", "gpu_mhz")}
        return {"models": [times.to_dict() for times in self.models]} | shared

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ProcessTimes:
        """Return what `to_dict` wrote."""
        return cls(**{**data, "models": tuple(ModelTimes.from_dict(times) for times in data["models"])})


def time_in_fresh_process(request: TimingRequest) -> ProcessTimes:
    """Run one timing process, and a second one where somebody ended the first.

    Raises:
        MeasurementError: A file cannot be timed, or the process died.
        RuntimeUnavailable: A runtime cannot run here.
    """
    for file in request.files:
        if not file.path.exists():  # a folder is a file too, as Core ML's packages
            raise MeasurementError(f"{file.path}: no such file; it cannot be timed")
    done = _run(request)
    if done.returncode in _ENDED_BY_OTHERS:
        done = _run(request)
    if done.returncode != 0:
        raise _failure(request, done.returncode, done.stderr)
    return ProcessTimes.from_dict(json.loads(done.stdout))


def _run(request: TimingRequest) -> subprocess.CompletedProcess[str]:
    # -P: a folder `numpy` or `search` where the user happens to stand must not be imported.
    command = [sys.executable, "-P", "-m", "autocompress.evaluators.timing.child", str(os.getpid())]
    try:
        # a session of its own: Ctrl-C in a terminal is for the search, which lets a measurement come to its end
        return subprocess.run(
            command,
            input=json.dumps(asdict(request), default=str),
            capture_output=True,
            encoding="utf-8",
            errors="replace",  # libraries print what they like
            env=_environment(os.environ, request.threads),
            timeout=_HANGS_AFTER_SECONDS,
            check=False,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        raise MeasurementError(
            f"{_names(request)}: no answer from the timing process after {_HANGS_AFTER_SECONDS} s; "
            "check that the file can be run"
        ) from None


def _failure(request: TimingRequest, code: int, stderr: str) -> MeasurementError | RuntimeUnavailable:
    last = next((line.strip() for line in reversed(stderr.splitlines()) if line.strip()), "no message")
    if code == EXIT_MEASUREMENT:
        return MeasurementError(last)
    if code == EXIT_UNAVAILABLE:
        return RuntimeUnavailable(last)
    if code < 0:
        name = signal.Signals(-code).name if -code in list(signal.Signals) else str(-code)
        last = f"killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else f": {last}")
    return MeasurementError(f"{_names(request)}: the timing process failed: {last}")


def _names(request: TimingRequest) -> str:
    return ", ".join(dict.fromkeys(str(file.path) for file in request.files))


def _environment(outer: Mapping[str, str], threads: int) -> dict[str, str]:
    tunables = [part for part in outer.get("GLIBC_TUNABLES", "").split(":") if part]
    if not any(part.startswith(_HUGE_PAGES) for part in tunables):
        tunables.append(f"{_HUGE_PAGES}=1")
    count = str(threads)
    changed = {"GLIBC_TUNABLES": ":".join(tunables), "OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count}
    return {**outer, **changed}


def _rounded(values: NDArray[np.float64]) -> list[Any]:
    # four significant digits, as nested lists: a clock on a shared machine knows no more

    def short(value: float | Sequence[Any]) -> Any:
        return [short(part) for part in value] if isinstance(value, list) else float(f"{value:.4g}")

    return [short(part) for part in values.tolist()]
