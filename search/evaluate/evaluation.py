"""Evaluation: a pure function of (workbench, job). It can run here, in a worker process or on a Ray node."""

from __future__ import annotations

import os
import shutil
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch
from filelock import FileLock

from ...compression.export import make_template
from ...compression.recover import Stopped
from ...compression.student import Student, make_student
from ...errors import AutoCompressError, ExportError, MeasurementError, MetricError, TrialFailed
from ...evaluators.accuracy import predict
from ...evaluators.measurement import Latency, Measurement
from ...evaluators.runtimes.base import BuildRequest
from ...evaluators.size import compressed_bytes, file_bytes
from ...spaces.plan import Plan
from ...studies.data.images import ImageData
from ...studies.task import score
from ..store.files import disk_errors, move, read_json, remove, trial_folder, write_bytes, write_json
from ..trial import Heritage
from .checkpoints import checkpoint_path, first_accuracy, look_at, recovered_student, start_student
from .context import Workbench, largest_difference
from .target_session import Station

GATE_CALIBRATION = 8
"""Inputs that calibrate a file which is only timed: latency does not depend on the ranges."""
CHUNK = 1024
"""Images that are float numbers in memory at a time, whatever the size of a split."""
PARITY = 1e-3
"""Largest relative difference allowed between a float file and its student."""


@dataclass(frozen=True)
class Job:
    """One step of one trial. step: "gate" times the shape, "look" looks at the untrained student, "rung" trains to the
    end of that rung and looks, "build" makes the final file and measures it. heritage: whose weights the student
    begins with; at a look, whose it may begin with if that is better than the teacher's."""

    number: int
    plan: Plan
    step: Literal["gate", "look", "rung", "build"]
    rung: int = 0
    heritage: Heritage | None = None


@dataclass(frozen=True)
class JobResult:
    """What came of a job. Exactly one of the results is there, or `failure` says in one line why none is.
    latencies: of a shape, by target, the first target first; size_bytes: of its largest file. inherits: after a look,
    whether the heritage is the better start."""

    latencies: Mapping[str, Latency] = field(default_factory=dict)
    size_bytes: int = 0
    accuracy: float | None = None
    inherits: bool = False
    measurement: Measurement | None = None
    failure: str = ""
    stopped: bool = False
    seconds: Mapping[str, float] = field(default_factory=dict)


def evaluate(bench: Workbench, job: Job) -> JobResult:
    """Do the job. A trial that cannot go on gives a failure; errors that end a study are raised."""
    clock = Clock()
    try:
        with disk_errors(bench.folder):
            if job.step == "gate":
                latencies, size = _gate(bench, job, clock)
                return JobResult(latencies, size, seconds=clock.seconds)
            if job.step == "look":
                with clock.time("measuring"):
                    accuracy, inherits = first_accuracy(bench, job.plan, job.heritage)
                return JobResult(accuracy=accuracy, inherits=inherits, seconds=clock.seconds)
            if job.step == "rung":
                return JobResult(accuracy=_rung(bench, job, clock), seconds=clock.seconds)
            return JobResult(measurement=_build(bench, job, clock), seconds=clock.seconds)
    except Stopped:
        return JobResult(stopped=True, seconds=clock.seconds)
    except (TrialFailed, MeasurementError, ExportError) as failure:
        return JobResult(failure=str(failure), seconds=clock.seconds)
    except MetricError as failure:
        if replace(job.plan, target="") == Plan():
            raise  # of the teacher itself: nothing could be compared
        return JobResult(failure=str(failure), seconds=clock.seconds)
    except AutoCompressError:
        raise
    except Exception as fault:
        # one plan that cannot be must not end a night of searching, nor every attempt to resume it
        path = trial_folder(bench.folder, job.number) / "fault.txt"
        write_bytes(path, traceback.format_exc().encode())
        return JobResult(failure=f"{type(fault).__name__}: {_line(fault)} (see {path})", seconds=clock.seconds)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]


class Clock:
    """Adds up seconds by kind of work."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def time(self, kind: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[kind] = self.seconds.get(kind, 0.0) + time.perf_counter() - start


def _gate(bench: Workbench, job: Job, clock: Clock) -> tuple[dict[str, Latency], int]:
    found: dict[str, Latency] = {}
    largest = 0
    student = None
    for station in bench.homes(job.plan):
        cached = station.folder / "latency" / f"{job.plan.shape_key()}.json"
        known = read_json(cached)
        if known is None or known["calibration"] != station.calibration.fingerprint:
            path = trial_folder(bench.folder, job.number) / f"gate{station.runtime.suffix}"
            with clock.time("building"):
                student = student or make_student(bench.task.teacher, bench.space.ground.groups, job.plan)
                _write(bench, station, student, job.plan, path, GATE_CALIBRATION)
            with clock.time("measuring"):
                latency = station.meter.measure([path])[0]
                size = file_bytes(path)
            remove(path)
            known = {"latency": latency.to_dict(), "size_bytes": size, "calibration": station.calibration.fingerprint}
            known["plan"] = replace(job.plan, recovery=None).to_dict()
            write_json(cached, known)
        found[station.name] = Latency.from_dict(known["latency"])
        largest = max(largest, known["size_bytes"])
    return found, largest


def _rung(bench: Workbench, job: Job, clock: Clock) -> float:
    path = checkpoint_path(bench.folder, job.plan, job.rung, job.heritage)
    look = path.with_suffix(f".{job.plan.key()}.json")
    # trials that differ in bits alone share their training: one of them trains, the other waits for it
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        known = read_json(look)
        if known is not None:
            return float(known["accuracy"])
        with clock.time("training"):
            earlier = checkpoint_path(bench.folder, job.plan, job.rung - 1, job.heritage)
            if job.rung and not path.exists():
                beside = path.with_suffix(f".{os.getpid()}.part")
                with suppress(FileNotFoundError):  # a trial that is taught alike went on, and took it away
                    shutil.copyfile(earlier, beside)
                    beside.replace(path)
            # what was begun has weights of its own; where it began still says which of them patterns hold at zero
            begun = path.exists() and not job.plan.patterns
            student = start_student(bench, job.plan, None if begun else job.heritage)
            fake = bench.recoverer.recover(student, job.plan, job.rung, path, bench.stop)
            earlier.unlink(missing_ok=True)
        with clock.time("measuring"):
            accuracy = look_at(bench, student.module, fake)
        write_json(look, {"accuracy": accuracy, "plan": job.plan.to_dict()})
        return accuracy


def _build(bench: Workbench, job: Job, clock: Clock) -> Measurement:
    with clock.time("building"):
        student = recovered_student(bench, job.plan, job.heritage)
    measured: dict[str, Measurement] = {}
    for station in bench.homes(job.plan):
        path = model_path(bench, job.number, station)
        part = path.with_name(f"part{path.suffix}")
        with clock.time("building"):
            _write(bench, station, student, job.plan, part, len(bench.task.calibration))
            move(part, path)
        with clock.time("measuring"):
            operators = station.runtime.inspect(path, station.target)
            bits = [job.plan.bits.get(n, 32) for n in station.template.layers.values()]
            measured[station.name] = Measurement(
                accuracy=file_accuracy(bench, station, path, bench.task.validation),
                latency=station.meter.measure([path])[0],
                size_bytes=file_bytes(path),
                compressed_bytes=compressed_bytes(path),
                operators=operators,
                remark=station.runtime.remark(operators, bits),
            )
    first, *others = measured
    measurement = replace(measured[first], elsewhere={name: measured[name] for name in others})
    write_json(trial_folder(bench.folder, job.number) / "measurement.json", measurement.to_dict())
    return measurement


def model_path(bench: Workbench, number: int, station: Station) -> Path:
    """Where a trial's file for a target lies: the first target's, or the only one's, in the trial's own folder."""
    folder = trial_folder(bench.folder, number)
    if station is not bench.first and not bench.space.homes:
        folder = folder / station.name
    return folder / f"model{station.runtime.suffix}"


def file_accuracy(bench: Workbench, station: Station, path: Path, data: ImageData) -> float:
    """The metric of a file, run by its runtime over all of a split."""
    parts = (data.inputs(slice(i, i + CHUNK)).numpy() for i in range(0, len(data), CHUNK))
    outputs = predict(path, station.runtime, station.target, parts)
    return score(bench.task.metric, torch.from_numpy(outputs), data.labels)


def _write(bench: Workbench, station: Station, student: Student, plan: Plan, path: Path, calibration: int) -> None:
    """Build the student's file, and check its float form against the student itself."""
    path.parent.mkdir(parents=True, exist_ok=True)
    module = student.module.cpu().eval()
    inputs = bench.task.calibration[:calibration].numpy()
    runtime, template = station.runtime, station.template
    model, batch = template.write(module), station.target.batch
    request = BuildRequest(model, template.layers, {}, inputs, module, template.batch, batch)
    plain = path.with_name(f"plain{path.suffix}")
    try:
        try:
            runtime.build(request, plain)
            agrees = largest_difference(bench, station, plain, module) <= PARITY
        except Exception:  # whatever a runtime makes of a graph that cannot be rewritten
            agrees = False
        if not agrees:
            example = torch.cat([bench.task.example_input] * template.batch)
            template = make_template(module, example, exact=True)
            request = replace(request, model=template.write(module), layers=template.layers)
            runtime.build(request, plain)
            if (off := largest_difference(bench, station, plain, module)) > PARITY:
                raise TrialFailed(f"the exported file differs from its student by {off:.2g} of the largest output")
        if plan.bits:
            runtime.build(replace(request, bits=plan.bits), path)
        else:
            move(plain, path)
    finally:
        remove(plain)
