"""The machine that a measurement was made on, in words that can be compared."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil

from ...spaces.target import Target

# What decides which kernels a runtime picks: x86 names first, then those of ARM (as in /proc/cpuinfo).
_INSTRUCTION_SETS = (
    "avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16",
    "asimddp", "i8mm", "bf16", "sve", "sve2",
)  # fmt: skip
# What changes from one minute to the next; some of it is added by a measurement.
_PASSING = (
    "host",
    "load_1min",
    "pressure",
    "queue_share",
    "cpu_mhz",
    "gpu_mhz",
    "statistic",
    "disturbances",
    "own_half_width",
)
_FINE_NS, _LOOK_SECONDS = 1_000_000, 0.05


def conditions(target: Target, runtime_version: str) -> dict[str, Any]:
    """Return what can change a latency on this machine, in plain JSON types; what cannot be read here is None.

    Args:
        target: Where files run.
        runtime_version: Of the target's runtime.
    """
    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "device": target.device,
        "device_name": _cpu_name() if target.device == "cpu" else _gpu_name(),
        "physical_cores": psutil.cpu_count(logical=False),
        "logical_cores": psutil.cpu_count(logical=True),
        "instruction_sets": instruction_sets(),
        "threads": target.threads,
        "batch": target.batch,
        "runtime": target.runtime,
        "runtime_version": runtime_version,
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "transparent_huge_pages": _chosen(_read("/sys/kernel/mm/transparent_hugepage/enabled")),
        "load_1min": None if sys.platform == "win32" else round(os.getloadavg()[0], 2),
    }


def fingerprint(conditions: Mapping[str, Any]) -> str:
    """Return 12 hex digits of everything in `conditions` that stays the same from one minute to the next."""
    stable = {name: value for name, value in conditions.items() if name not in _PASSING}
    return hashlib.sha256(json.dumps(stable, sort_keys=True).encode()).hexdigest()[:12]


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return what differs between two conditions, in words: "governor was performance, is powersave"."""
    names = [name for name in now if name not in _PASSING and before.get(name) != now[name]]
    return "; ".join(f"{name.replace('_', ' ')} was {_told(before.get(name))}, is {_told(now[name])}" for name in names)


def cpu_mhz() -> float | None:
    """Return the clock of the core that this thread is on, or of the first that tells; None where none does.

    A core that rests clocks down, so this is to be asked right after work.
    """
    fields = (_read("/proc/thread-self/stat") or "").rpartition(")")[2].split()
    core = fields[36] if len(fields) > 36 else "0"  # field 39 of proc(5), counted after the name
    khz = _read(f"/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq")
    if khz is not None and khz.isdigit():
        return round(int(khz) / 1000, 1)
    try:
        frequency = psutil.cpu_freq()
    except (OSError, NotImplementedError, AttributeError):  # as the system likes: it is no more than a remark
        return None
    return round(frequency.current, 1) if frequency and frequency.current else None


def gpu_mhz() -> float | None:
    """Return the clock of the first GPU's multiprocessors; None where no driver tells it."""
    answer = _first_line(["nvidia-smi", "--query-gpu=clocks.sm", "--format=csv,noheader,nounits"])
    try:
        return float(answer or "")
    except ValueError:
        return None


def is_fine(clock_ns: Callable[[], int]) -> bool:
    """Tell whether a clock of CPU time counts less than a millisecond.

    On some systems, such as Windows and sandboxes that stand in for a kernel, it goes on by 10 or 16 ms at a time: most
    inferences took none of it. What they took by the wall is all that is known there.

    Args:
        clock_ns: The clock. It is looked at while this thread works.
    """
    ends, last = time.perf_counter() + _LOOK_SECONDS, clock_ns()
    while time.perf_counter() < ends:
        now = clock_ns()
        if 0 < now - last < _FINE_NS:
            return True
        last = now
    return False


def instruction_sets() -> list[str] | None:
    """Return this CPU's instruction sets that kernels are chosen by; None where they cannot be read."""
    text = _read("/proc/cpuinfo")
    if text is None:
        return None
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            present = set(value.split())
            return [flag for flag in _INSTRUCTION_SETS if flag in present]
    return None


def _cpu_name() -> str | None:
    for line in (_read("/proc/cpuinfo") or "").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    if platform.system() == "Darwin":
        return _first_line(["sysctl", "-n", "machdep.cpu.brand_string"])
    return platform.processor() or None


def _gpu_name() -> str | None:
    try:
        return _told_gpu_name()
    except LookupError:
        return None


@functools.cache
def _told_gpu_name() -> str:
    # The driver's own tool is asked: importing torch for a name would cost seconds. Once told, the name stays: on a
    # busy machine the tool may not answer in time, and a GPU without a name would be taken for another one.
    name = _first_line(["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"])
    if name is None:
        raise LookupError
    return name


def _first_line(command: list[str]) -> str | None:
    try:
        said = subprocess.run(command, capture_output=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    answer = said.decode(errors="replace").strip()
    return answer.splitlines()[0] if answer else None


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None


def _told(value: Any) -> str:
    return "unknown" if value is None else " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _chosen(modes: str | None) -> str | None:
    # the mode in brackets of a line such as `always [madvise] never`
    if modes is None or "[" not in modes:
        return modes
    return modes.partition("[")[2].partition("]")[0]
