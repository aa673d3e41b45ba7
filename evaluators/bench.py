"""Files side by side on this machine, without a study, as `autocompress bench MODEL.onnx [OTHER.tflite ...]`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import PluginError, UsageError
from ..spaces.target import Target
from .measurement import Latency
from .runtimes.base import Runtime
from .runtimes.registry import all_runtimes, get_runtime
from .timing.agreed import agreed_ratio
from .timing.host import HERE, TimingHost
from .timing.moments import DRIFT_SD, known_drift
from .timing.processes import TimedFile
from .timing.side_by_side import MOST_PROCESSES, SideBySide
from .timing.statistics import Estimate

PREFERRED = ("onnxruntime", "pytorch", "executorch", "litert", "coreml", "tensorrt", "tensorrt_rtx")
"""Of runtimes with one suffix, the first of these is taken for a file; runtimes not named here follow by name."""


def bench(
    files: Sequence[TimedFile],
    precision: float | None = None,
    processes: int = 3,
    max_seconds: float = 3.0,
    limit_seconds: float | None = None,
    host: TimingHost = HERE,
) -> list[Latency]:
    """Measure files in the same rounds of fresh processes; each may have its own runtime.

    Args:
        files: The files, each with where it runs.
        precision: Half-width of the 95 % interval to reach for every ratio (for one file: for its median) by more
            processes; `shortfall` tells whether it was reached.
        processes: Fresh processes at least.
        max_seconds: Of timing per file and process.
        limit_seconds: No process but the first starts later.
        host: The machine that times them.

    Returns:
        Their latencies, in their order. `p50_ms` is each file's own median, whose interval is as wide as the machine is
        known to differ from one moment to the next; `ratio` is to the first file, whose interval is not.

    Raises:
        MeasurementError: A file cannot be timed.
        RuntimeUnavailable: A runtime cannot run here.
        UnknownName: There is no such runtime.
    """
    # One process stops at 1 %, or earlier where the whole need not be as sure as that.
    own = 0.01 if precision is None else min(max(precision, 0.0025), 0.02)
    beside = SideBySide(tuple(files), max_seconds * len(files), precision=own, host=host)
    readings = beside.take(processes, precision, limit_seconds)
    found = []
    for index in range(len(files)):
        median, now = readings.p50(index), readings.conditions(index)
        # another minute may find the machine in another mood: ratios do not change with it, milliseconds do
        drift = known_drift(now).half_width(DRIFT_SD)
        p50 = Estimate(median.log, math.hypot(median.half_width, drift))
        ratio, changed = agreed_ratio(readings, index) if index else (readings.ratio(0), {})
        latency = readings.latency(index, p50, ratio)
        own_half = {"own_half_width": round(median.half_width, 4)}
        found.append(replace(latency, conditions={**latency.conditions, **changed, **own_half}))
    return found


def timed_files(
    names: Sequence[str],
    runtimes: Sequence[str] = (),
    device: str | None = None,
    threads: int = 1,
    batch: int = 1,
    length: int | None = None,
) -> list[TimedFile]:
    """Return files as a user names them, each with where it runs.

    A file without a runtime of its own runs in each of `runtimes` whose suffix it has (in the only one, whatever its
    suffix); without any, in the first that has its suffix, see PREFERRED.

    Args:
        names: "model.onnx", "openvino:model.onnx" or "tensorrt@cuda:model.engine".
        runtimes: Names of runtimes for files that name none.
        device: Where files run that name no device; by default "cpu" where the runtime knows it, else its first.
        threads: Of each file.
        batch: Of each file.
        length: Of the dimensions that files leave open besides the batch; None where they leave none.

    Raises:
        UnknownName: There is no such runtime.
        UsageError: No runtime has files of this suffix.
        PluginError: A named runtime's package is broken.
    """
    found = []
    for name in names:
        own, own_device, path = _parted(name)
        chosen = [get_runtime(own)] if own else _fitting(path, [get_runtime(given) for given in runtimes])
        for runtime in chosen:
            place = own_device or device or _usual_device(runtime)
            found.append(TimedFile(path, Target(runtime.name, place, threads, batch), length=length))
    return found


def parse_precision(text: str) -> float:
    """Return the fraction that "2%" or "0.02" stands for.

    Raises:
        UsageError: It is neither.
    """
    wrong = UsageError(f"precision {text!r}; allowed: a percentage such as 2% or a fraction below 1 such as 0.02")
    number = text.strip()
    try:
        value = float(number.removesuffix("%")) / (100 if number.endswith("%") else 1)
    except ValueError:
        raise wrong from None
    if not 0 < value < 1:
        raise wrong
    return value


def conditions_line(latencies: Sequence[Latency]) -> str:
    """Return what files were measured on and how; where they differ in that, each one's value."""
    parts = []
    for name in latencies[0].conditions:
        values = [latency.conditions[name] for latency in latencies]
        shown = dict.fromkeys(str(value) for value in values if value not in (None, [], ()))
        if shown:
            parts.append(f"{name} {' | '.join(shown)}")
    return ", ".join(parts)


def shortfall(latencies: Sequence[Latency], precision: float) -> str:
    """Return in words how far the widest interval is from a precision; empty when that was reached.

    Args:
        latencies: Of files that were measured together.
        precision: Half-width of a 95 % interval, as a fraction.
    """
    if len(latencies) == 1:
        # of this moment alone: no number of processes tells what the machine is like at another
        interval = math.log(latencies[0].high_ms / latencies[0].low_ms) / 2
        widest = float(latencies[0].conditions.get("own_half_width", interval))
    else:
        widest = max(math.log(latency.ratio_high / latency.ratio_low) / 2 for latency in latencies[1:])
    if widest <= precision:
        return ""
    processes = latencies[0].processes
    hint = f"ask for more than {MOST_PROCESSES} processes" if processes >= MOST_PROCESSES else "give it more time"
    hint = "measure on a quiet machine" if any(latency.disturbed for latency in latencies) else hint
    return f"the precision of ± {precision:.3g} was not reached: ± {widest:.2g} after {processes} processes; {hint}"


def _parted(name: str) -> tuple[str, str, Path]:
    # Runtime, device and path; the first two are empty where the name is but a path, as is that of a file which is
    # there, and that of a drive with its letter.
    before, colon, path = name.partition(":")
    runtime, at, device = before.partition("@")
    if at and not device and runtime.isidentifier() and colon:
        raise UsageError(f"{name} names no device behind the @: give RUNTIME@DEVICE, or leave the @ out")
    if not colon or Path(name).exists() or len(runtime) < 2 or not runtime.isidentifier():
        return "", "", Path(name)
    return runtime, device, Path(path)


def _fitting(path: Path, given: Sequence[Runtime]) -> list[Runtime]:
    if len(given) == 1:
        return list(given)
    known = given or sorted(_working(), key=_rank)
    fitting = [runtime for runtime in known if runtime.suffix == path.suffix]
    if not fitting:
        shown = ", ".join(f"{runtime.suffix} ({runtime.name})" for runtime in known)
        raise UsageError(f"{path}: no runtime has files {path.suffix!r}; known: {shown}; write RUNTIME:{path.name}")
    return fitting if given else fitting[:1]


def _working() -> list[Runtime]:
    return [runtime for runtime in all_runtimes().values() if not isinstance(runtime, PluginError)]


def _rank(runtime: Runtime) -> tuple[int, str]:
    return (PREFERRED.index(runtime.name) if runtime.name in PREFERRED else len(PREFERRED), runtime.name)


def _usual_device(runtime: Runtime) -> str:
    devices = runtime.available().devices
    return devices[0] if devices and "cpu" not in devices else "cpu"


def labels(files: Sequence[TimedFile]) -> list[str]:
    """Return the shortest names that tell files apart: without folder and target where those are alike."""
    paths = {file.path for file in files}
    same_names = len({path.name for path in paths}) < len(paths)
    several = len({file.target.name for file in files}) > 1
    names = (str(file.path) if same_names else file.path.name for file in files)
    return [f"{file.target.name}:{name}" if several else name for file, name in zip(files, names, strict=True)]
