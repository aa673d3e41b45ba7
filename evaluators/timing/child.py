"""The timing process, `python -m autocompress.evaluators.timing.child PARENT`: a request on stdin, a reply on stdout.

It imports numpy and the runtimes of its files, and torch only with them: it has to start in a few tenths of a second.
Files take turns in an order shuffled anew for each round (as in google/benchmark's random interleaving), so that what
changes slowly on the machine falls on all of them alike.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import json
import os
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import MeasurementError, PluginError, RuntimeUnavailable
from ...parent import end_with_parent
from ..runtimes.base import Loaded, TensorInfo
from ..runtimes.registry import get_runtime
from .energy import EnergyMeter
from .enough import is_enough
from .machine import cpu_mhz, gpu_mhz, is_fine
from .processes import EXIT_MEASUREMENT, EXIT_UNAVAILABLE, ModelTimes, ProcessTimes, TimedFile, TimingRequest
from .statistics import Statistic, choose_statistic, common_statistic, log_ratio

# A block is long enough for a quantile of its own, and short enough that all files see the same machine.
_BLOCK_MS = 15.0
_FEWEST_CALLS, _MOST_CALLS = 2, 60
_REST_SECONDS = 0.03  # threads of a pool spin on for some 20 ms, and would take the next file's cores
_REFILL_NS = 1_000_000
_WARMUP_SECONDS, _WARMUP_CAP_SECONDS = 0.2, 2.0
_SETTLED = 0.05
_ENERGY_SECONDS = 1.0  # a GPU's counter moves ten times a second
_GPUS = {"tensorrt": "cuda"}  # devices that are another by another name


@dataclass
class _Subject:
    """One loaded file and its times so far, in nanoseconds."""

    call: Callable[[], object]
    statistic: Statistic
    load_ms: float
    peak_memory_mb: float | None
    energy_mj: float | None = None
    warmup: int = 0
    calls: int = _FEWEST_CALLS
    wall_ns: list[list[int]] = field(default_factory=list)
    cpu_ns: list[list[int]] = field(default_factory=list)
    queue_share: list[float] = field(default_factory=list)
    counts_cpu: bool = True

    def times(self) -> ModelTimes:
        """Return the times so far, in milliseconds."""
        wall, cpu = (np.array(rows, dtype=float) / 1e6 for rows in (self.wall_ns, self.cpu_ns))
        if not self.counts_cpu:
            cpu = wall
        share = np.array(self.queue_share)
        load_ms = round(self.load_ms, 3)
        return ModelTimes(wall, cpu, share, load_ms, self.warmup, self.peak_memory_mb, self.energy_mj)


def measure(request: TimingRequest) -> ProcessTimes:
    """Load, warm up and time all files of a request.

    Raises:
        MeasurementError: A file cannot be loaded or run.
        RuntimeUnavailable: A runtime cannot run here.
        PluginError: A runtime's package is broken.
    """
    order = random.Random(request.seed)
    counts_cpu = is_fine(time.process_time_ns)
    made: dict[int, _Subject] = {}
    for index in order.sample(range(len(request.files)), len(request.files)):
        made[index] = _build(request.files[index], alone=not made)
    subjects = [made[index] for index in range(len(request.files))]
    for subject in subjects:
        subject.counts_cpu = counts_cpu
    if request.max_rounds == 0:
        return ProcessTimes(tuple(subject.times() for subject in subjects))
    gc.collect()
    gc.disable()
    started = time.perf_counter()
    pressure = _pressure_us()
    # Warm-up may take a fifth of the time at most, so that a short measurement is not all warm-up.
    share = 0.2 * request.max_seconds / len(subjects)
    for subject in subjects:
        _warm_up(subject, min(_WARMUP_SECONDS, share), min(_WARMUP_CAP_SECONDS, 2 * share))
    clocks: list[float | None] = []
    for done in itertools.count(1):
        for subject in order.sample(subjects, len(subjects)):
            if request.threads > 1:
                time.sleep(_REST_SECONDS)
            _time_block(subject)
        clocks.append(cpu_mhz())
        calls = done * min(subject.calls for subject in subjects)
        if is_enough(request, done, calls, time.perf_counter() - started, lambda: _widest(subjects)):
            break
    elapsed_us = (time.perf_counter() - started) * 1e6
    after = _pressure_us()
    gpu_clock = gpu_mhz() if any(file.target.device != "cpu" for file in request.files) else None
    for file, subject in zip(request.files, subjects, strict=True):
        if (meter := EnergyMeter.for_device(_GPUS.get(file.target.device, file.target.device))) is not None:
            seconds = min(_ENERGY_SECONDS, request.max_seconds / (3 * len(subjects)))
            with contextlib.suppress(MeasurementError):  # latencies are there, whatever became of the counter
                subject.energy_mj = _energy_mj(subject.call, meter, seconds)
    known = [clock for clock in clocks if clock is not None]
    return ProcessTimes(
        tuple(subject.times() for subject in subjects),
        pressure=None if pressure is None or after is None else round((after - pressure) / elapsed_us, 4),
        cpu_mhz=float(np.median(known)) if known else None,
        gpu_mhz=gpu_clock,
    )


def _widest(subjects: Sequence[_Subject]) -> float:
    # half of the widest interval of the log-ratios to the first file; of its own time if it is alone
    reference, *others = subjects
    base = reference.times()
    if not others:
        own = reference.statistic.of(base)
        return log_ratio(own, np.ones_like(own), reference.statistic.quantile).half_width
    widths = []
    for other in others:
        statistic = common_statistic(other.statistic, reference.statistic)
        ratio = log_ratio(statistic.of(other.times()), statistic.of(base), statistic.quantile)
        widths.append(ratio.half_width)
    return max(widths)


def _build(file: TimedFile, alone: bool) -> _Subject:
    # alone: it is the first of the process, so that the peak memory is the file's
    runtime = get_runtime(file.target.runtime)
    runtime.available()  # imports its library, which is not to be counted as a file's load time
    started = time.perf_counter()
    loaded = runtime.load(file.path, file.target)
    load_ms = (time.perf_counter() - started) * 1e3
    arrays = _inputs(file, loaded)
    loaded.run(*arrays)
    statistic = choose_statistic(file.target, runtime.synchronous)
    return _Subject(lambda: loaded.run(*arrays), statistic, load_ms, round(_peak_memory_mb(), 2) if alone else None)


def _inputs(file: TimedFile, loaded: Loaded) -> tuple[NDArray[Any], ...]:
    real: list[NDArray[Any]] = []
    if file.inputs is not None:
        with np.load(file.inputs) as kept:
            real = [kept[name] for name in kept.files]
    # a number alone has no batch, and what lies beside the first input may lie the other way, as the state of a cell
    first = next((i for i, takes in enumerate(loaded.inputs) if takes.shape), 0)
    parts = (real[i] if i < len(real) else None for i in range(len(loaded.inputs)))
    given = zip(loaded.inputs, parts, strict=True)
    return tuple(_input(file, takes, part, i == first) for i, (takes, part) in enumerate(given))


def _input(file: TimedFile, takes: TensorInfo, real: NDArray[Any] | None, is_first: bool) -> NDArray[Any]:
    if not takes.shape:
        return np.array(np.issubdtype(takes.dtype, np.floating), takes.dtype)
    batch, *rest = takes.shape
    if is_first and batch not in (None, file.target.batch):
        raise MeasurementError(
            f"{file.path}: made for a batch of {batch}, asked for {file.target.batch}; ask for {batch}"
        )
    if real is not None:
        return np.ascontiguousarray(np.resize(real, (file.target.batch, *real.shape[1:])), dtype=takes.dtype)
    if file.length is None and any(length is None for length in rest):
        raise MeasurementError(
            f"{file.path}: input {takes.name} is {list(takes.shape)}, allowed: only the batch open; give the other "
            "sizes by --length, or export it with a fixed size"
        )
    sizes = (file.length if length is None else length for length in rest)
    shape = [batch or file.target.batch, *(size or 1 for size in sizes)]
    if not np.issubdtype(takes.dtype, np.floating):
        return np.zeros(shape, dtype=takes.dtype)
    return np.random.default_rng(0).standard_normal(shape).astype(takes.dtype)


def _warm_up(subject: _Subject, seconds: float, cap_seconds: float) -> None:
    walls: list[int] = []
    started = time.perf_counter()
    while True:
        begin = time.perf_counter_ns()
        subject.call()
        walls.append(time.perf_counter_ns() - begin)
        spent = time.perf_counter() - started
        if len(walls) >= 3 and (spent > cap_seconds or (spent > seconds and _settled(walls))):
            break
    subject.warmup = len(walls)
    floor_ms = max(min(walls[-5:]) / 1e6, 1e-6)
    subject.calls = int(min(max(round(_BLOCK_MS / floor_ms), _FEWEST_CALLS), _MOST_CALLS))


def _settled(walls: list[int]) -> bool:
    if len(walls) < 10:
        return False
    before, now = np.median(walls[-10:-5]), np.median(walls[-5:])
    return bool(abs(now / before - 1) <= _SETTLED)


def _time_block(subject: _Subject) -> None:
    call, wall, cpu = subject.call, time.perf_counter_ns, time.process_time_ns
    # Brings this file's weights back into the caches and lets the file before it come to rest.
    refill_until = wall() + _REFILL_NS
    call()
    while wall() < refill_until:
        call()
    walls, cpus = [], []
    waited, began = _queue_wait_ns(), wall()
    for _ in range(subject.calls):
        cpu_before = cpu()
        before = wall()
        call()
        after = wall()
        cpus.append(cpu() - cpu_before)
        walls.append(after - before)
    took, now = wall() - began, _queue_wait_ns()
    subject.wall_ns.append(walls)
    subject.cpu_ns.append(cpus)
    subject.queue_share.append(float("nan") if waited is None or now is None else (now - waited) / took)


def _energy_mj(call: Callable[[], object], meter: EnergyMeter, seconds: float) -> float | None:
    # Of one inference, from a block of them back to back; None if the counter did not move. What the device draws at
    # rest is in it, as it is for whoever runs the file.
    ends = time.perf_counter() + seconds
    before, calls = meter.joules(), 0
    while calls == 0 or time.perf_counter() < ends:
        call()
        calls += 1
    spent = meter.joules() - before
    return float(f"{1e3 * spent / calls:.4g}") if spent > 0 else None


def _queue_wait_ns() -> int | None:
    # time this thread stood ready without a core: second field, in Linux' Documentation/scheduler/sched-stats
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return None


def _pressure_us() -> int | None:
    # total time some task waited for a core: Linux' Documentation/accounting/psi
    try:
        return int(Path("/proc/pressure/cpu").read_text().splitlines()[0].rpartition("total=")[2])
    except (OSError, IndexError, ValueError):
        return None


def _peak_memory_mb() -> float:
    # the most resident memory this process had so far: VmHWM of Linux' Documentation/filesystems/proc
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    if sys.platform == "win32":
        return 0.0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


def main() -> int:
    """Read a request, answer it, and return the exit code of the process.

    Its first argument is the process id of its parent, without which it does not go on: a measurement that nobody waits
    for would disturb the next.
    """
    if len(sys.argv) > 1:
        end_with_parent(int(sys.argv[1]))
    reply_to = os.dup(1)
    os.dup2(2, 1)  # whatever a runtime prints must not mix with the reply
    request = TimingRequest.from_dict(json.load(sys.stdin))
    try:
        reply = measure(request).to_dict()
    except (RuntimeUnavailable, PluginError) as error:
        print(error, file=sys.stderr)
        return EXIT_UNAVAILABLE
    except MeasurementError as error:
        print(error, file=sys.stderr)
        return EXIT_MEASUREMENT
    with os.fdopen(reply_to, "w") as out:
        json.dump(reply, out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
