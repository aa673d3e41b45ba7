"""The timing process: `python -m autocompress.evaluators.timing_child`, a request on stdin, a reply on stdout.

It imports numpy and the runtime, never torch: it has to start in a few tenths of a second. Files take turns in an
order shuffled anew for each round (as in google/benchmark's random interleaving), so that what changes slowly on
the machine falls on all of them alike.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MeasurementError, RuntimeUnavailable
from .runtimes.base import Loaded, Runtime
from .runtimes.registry import get_runtime
from .statistics import choose_statistic, log_ratio
from .timing import EXIT_MEASUREMENT, EXIT_UNAVAILABLE, ModelTimes, ProcessTimes, TimingRequest

# A block is long enough for a quantile of its own, and short enough that all files see the same machine.
_BLOCK_MS = 15.0
_FEWEST_CALLS, _MOST_CALLS = 2, 60
_REST_SECONDS = 0.03  # threads of a pool spin on for some 20 ms, and would take the next file's cores
_REFILL_NS = 1_000_000
_FEWEST_ROUNDS = 4  # when the time is up
_WARMUP_SECONDS, _WARMUP_CAP_SECONDS = 0.2, 2.0
_SETTLED = 0.05


@dataclass
class _Subject:
    """One loaded file and its times so far, in nanoseconds."""

    call: Callable[[], object]
    load_ms: float
    peak_memory_mb: float
    warmup: int = 0
    calls: int = _FEWEST_CALLS
    wall_ns: list[list[int]] = field(default_factory=list)
    cpu_ns: list[list[int]] = field(default_factory=list)
    queue_share: list[float] = field(default_factory=list)

    def times(self) -> ModelTimes:
        wall, cpu = (np.array(rows, dtype=float) / 1e6 for rows in (self.wall_ns, self.cpu_ns))
        share = np.array(self.queue_share)
        return ModelTimes(wall, cpu, share, round(self.load_ms, 3), self.warmup, round(self.peak_memory_mb, 2))


def measure(request: TimingRequest) -> ProcessTimes:
    """Load, warm up and time all files of the request. Raises MeasurementError, RuntimeUnavailable."""
    order = random.Random(request.seed)
    runtime = get_runtime(request.runtime)
    paths = [Path(path) for path in (request.reference, *request.candidates)]
    runtime.available()  # imports its library, which is not to be counted as a file's load time or memory
    bare_mb = _memory_mb("VmRSS")
    made: dict[int, _Subject] = {}
    for index in order.sample(range(len(paths)), len(paths)):
        made[index] = _build(runtime, paths[index], request, bare_mb)
    subjects = [made[index] for index in range(len(paths))]
    gc.collect()
    gc.disable()
    started = time.perf_counter()
    pressure = _pressure_us()
    # Warm-up may take a fifth of the time at most, so that a short measurement is not all warm-up.
    share = 0.2 * request.max_seconds / len(subjects)
    for subject in subjects:
        _warm_up(subject, min(_WARMUP_SECONDS, share), min(_WARMUP_CAP_SECONDS, 2 * share))
    statistic = choose_statistic(request.target, runtime.synchronous)
    reference, *candidates = subjects
    for done in range(1, request.max_rounds + 1):
        for subject in order.sample(subjects, len(subjects)):
            if request.threads > 1:
                time.sleep(_REST_SECONDS)
            _time_block(subject)
        if time.perf_counter() - started > request.max_seconds and done >= min(_FEWEST_ROUNDS, request.min_rounds):
            break
        if done >= request.min_rounds and done % 2 == 0:
            base = statistic.of(reference.times())
            others = [statistic.of(subject.times()) for subject in candidates]
            # A reference on its own is held against a constant: then its own interval counts.
            pairs = [(other, base) for other in others] or [(base, np.ones_like(base))]
            if all(log_ratio(a, b, statistic.quantile).half_width <= request.precision for a, b in pairs):
                break
    elapsed_us = (time.perf_counter() - started) * 1e6
    after = _pressure_us()
    share_waiting = None if pressure is None or after is None else round((after - pressure) / elapsed_us, 4)
    return ProcessTimes(
        reference.times(), tuple(subject.times() for subject in candidates), runtime.synchronous, share_waiting
    )


def _build(runtime: Runtime, path: Path, request: TimingRequest, bare_mb: float) -> _Subject:
    _forget_peak()
    before_mb = _memory_mb("VmRSS")
    started = time.perf_counter()
    loaded = runtime.load(path, request.target)
    load_ms = (time.perf_counter() - started) * 1e3
    array = _input(path, loaded, request)
    loaded.run(array)
    return _Subject(lambda: loaded.run(array), load_ms, bare_mb + _memory_mb("VmHWM") - before_mb)


def _input(path: Path, loaded: Loaded, request: TimingRequest) -> NDArray[Any]:
    batch, *rest = loaded.input_shape
    if any(length is None for length in rest):
        raise MeasurementError(
            f"{path}: input shape is {list(loaded.input_shape)}, allowed: only the batch open; "
            "export it with a fixed image size"
        )
    shape = [batch or request.batch, *(length or 1 for length in rest)]
    if not np.issubdtype(loaded.input_dtype, np.floating):
        return np.zeros(shape, dtype=loaded.input_dtype)
    return np.random.default_rng(0).standard_normal(shape).astype(loaded.input_dtype)


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


def _queue_wait_ns() -> int | None:
    """Time this thread stood ready without a core: second field, in Linux' Documentation/scheduler/sched-stats."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return None


def _pressure_us() -> int | None:
    """Total time some task waited for a core: Linux' Documentation/accounting/psi."""
    try:
        return int(Path("/proc/pressure/cpu").read_text().splitlines()[0].rpartition("total=")[2])
    except (OSError, IndexError, ValueError):
        return None


def _forget_peak() -> None:
    """Set VmHWM back to VmRSS: Linux' Documentation/filesystems/proc, clear_refs."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _memory_mb(name: str) -> float:
    """VmRSS or VmHWM of this process; where there is no /proc, its peak so far for both."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) / 1024
    if sys.platform == "win32":
        return 0.0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


def main() -> int:
    reply_to = os.dup(1)
    os.dup2(2, 1)  # whatever a runtime prints must not mix with the reply
    request = TimingRequest.from_dict(json.load(sys.stdin))
    try:
        reply = measure(request).to_dict()
    except RuntimeUnavailable as error:
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
