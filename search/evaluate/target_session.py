"""A session with one target of a study: the tools to build and to measure files for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ...errors import MeasurementError, RuntimeUnavailable, StorageError
from ...evaluators.activations import MINMAX_ALWAYS, Activations
from ...evaluators.artifact import ArtifactBuilder
from ...evaluators.latency import Calibration, LatencyMeter
from ...evaluators.microbenchmarks import Say
from ...evaluators.runtimes.base import Runtime
from ...evaluators.runtimes.calibrating import MINMAX, CalibratingRuntime
from ...evaluators.runtimes.registry import get_runtime
from ...evaluators.templates import Templates
from ...evaluators.timing.host import HERE, TimingHost
from ...evaluators.timing.moments import Watch
from ...evaluators.timing.real_inputs import FILE, keep_inputs
from ...files import write_json
from ...spaces.inputs import tensors_of
from ...spaces.plain import to_plain
from ...spaces.target import Target
from ...studies.task import PreparedTask
from ..store.scale import read_calibration

CALIBRATIONS = 2
"""Tries at a calibration that nothing disturbs. What every measurement sees of the teacher later puts it right."""
MOST_OF_WHAT_IS_LEFT = 0.1
"""A disturbed calibration is not made again where that would take a larger part of the time that is left."""

SAMPLES = 4
"""Validation inputs on which each file in 32 bits is held against its student."""


@dataclass(frozen=True)
class TargetSession:
    """What a process has of one target.

    Attributes:
        target: Where the models will run.
        runtime: Its runtime.
        builder: Builds files of students, and checks them.
        meter: Measures files beside the teacher's own file.
        folder: Holds the teacher's file, the calibration and the latencies of shapes measured so far.
    """

    target: Target
    runtime: Runtime
    builder: ArtifactBuilder
    meter: LatencyMeter
    folder: Path

    @property
    def name(self) -> str:
        """The target's name."""
        return self.target.name

    @property
    def calibration(self) -> Calibration:
        """What the teacher's file takes on this target."""
        assert self.meter.calibration is not None
        return self.meter.calibration


def usable_runtime(target: Target) -> Runtime:
    """Return the target's runtime.

    Raises:
        UnknownName: There is no such runtime.
        RuntimeUnavailable: It cannot run here.
    """
    runtime = get_runtime(target.runtime)
    availability = runtime.available()
    if not availability.ok:
        raise RuntimeUnavailable(f"runtime {target.runtime!r} cannot be used: {availability.reason}")
    return runtime


def open_session(
    task: PreparedTask,
    target: Target,
    templates: Templates,
    folder: Path,
    precision: float,
    measured: bool,
    worker: bool,
    say: Say,
    time_left_s: Callable[[], float | None] = lambda: None,
    host: TimingHost = HERE,
    activations: Activations = MINMAX_ALWAYS,
) -> TargetSession:
    """Build the teacher's file and calibrate the target; what is in `folder` already is taken from there.

    Args:
        task: The study's task.
        target: Where the models will run.
        templates: Exports of the teacher, shared between targets.
        folder: The target's folder in the study.
        precision: Of latencies, see `LatencyMeter`.
        measured: Whether the study has latencies that must compare with this calibration.
        worker: Whether this process works for a driver, which has calibrated already.
        say: Takes a line about what is going on.
        time_left_s: Returns the seconds of the search that are left, None without an end.
        host: The machine that times files.
        activations: How the ranges of 8-bit activations are found.

    Raises:
        ExportError: The teacher cannot be exported.
        RuntimeUnavailable: The target cannot be used here.
        MeasurementError: The teacher's file cannot be built or timed, or a worker runs on another kind of machine.
        StorageError: The study was measured under other conditions.
    """
    runtime = usable_runtime(target)
    folder.mkdir(parents=True, exist_ok=True)
    samples = task.validation.inputs(slice(0, SAMPLES))
    builder = ArtifactBuilder(runtime, target, templates, task.calibration, samples, activations)
    if not worker and activations.method != MINMAX and not isinstance(runtime, CalibratingRuntime):
        say(f"{target.name}: ranges of activations are from the least to the largest value, it has no choice of them")
    reference = folder / f"teacher{runtime.suffix}"
    builder.teacher_file(reference)
    kept = folder / "calibration.json"
    watch, calibration = Watch(folder / "teacher.jsonl"), read_calibration(kept)
    inputs = timing_inputs(task, folder, calibration is not None)
    meter = LatencyMeter(target, reference, calibration, precision, host, inputs=inputs, watch=watch)
    if not meter.is_current():
        if worker:
            raise MeasurementError(
                f"{folder}: calibrated on another kind of machine than this worker's ({meter.what_changed()}); use "
                "alike nodes"
            )
        if measured:
            # a study's latencies are compared with each other: all of them, or none, under the present conditions
            raise StorageError(
                f"{folder} was measured under other conditions: {meter.what_changed()}. Its latencies would not "
                "compare with today's: put that back, measure all students anew with --remeasure, or use --fresh"
            )
        meter = _calibrated(meter, say, time_left_s)
        write_json(kept, to_plain(meter.calibration))
    return TargetSession(target, runtime, builder, meter, folder)


def timing_inputs(task: PreparedTask, folder: Path, calibrated: bool = False) -> Path | None:
    """Keep the example inputs in a folder, where files are to be timed on them; see `keep_inputs`.

    Args:
        task: The task.
        folder: Where the file lies.
        calibrated: Whether files of this folder were timed before. What was timed on random numbers then, as floating
            inputs of any form were by older versions, is timed on them still: latencies are to compare.

    Returns:
        The file; None where files are timed on random numbers.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    parts = [part.detach() for part in tensors_of(task.example_input)]
    if calibrated and not (folder / FILE).exists() and all(part.is_floating_point() for part in parts):
        return None
    return keep_inputs([part.numpy() for part in parts], folder)


def _calibrated(meter: LatencyMeter, say: Say, time_left_s: Callable[[], float | None]) -> LatencyMeter:
    """Calibrate; once more where other work disturbed it, and the search has the time.

    What the teacher took before was under other conditions, or is not to count any more.
    """
    if meter.watch is not None:
        meter.watch.forget()
    took_s = 0.0
    for tries in range(CALIBRATIONS):
        left_s = time_left_s()
        if tries and left_s is not None and took_s > MOST_OF_WHAT_IS_LEFT * left_s:
            break
        if tries:
            say("other work ran while the target was calibrated; calibrating again")
        begun_s = time.monotonic()
        meter = replace(meter, calibration=meter.calibrate())
        took_s = time.monotonic() - begun_s
        if meter.calibration is not None and not meter.calibration.disturbed:
            return meter
    say(
        "the machine stayed busy: latencies of this study are marked as disturbed and may read too high, until the "
        "teacher is seen undisturbed"
    )
    return meter
