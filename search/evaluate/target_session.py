"""A station: one target of a study, with the tools to build and to measure files for it."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from ...compression.export import Template, make_template
from ...errors import MeasurementError, RuntimeUnavailable, StorageError
from ...evaluators.latency import Calibration, LatencyMeter
from ...evaluators.runtimes.base import BuildRequest, Runtime
from ...evaluators.runtimes.registry import get_runtime
from ...spaces.target import Target
from ...studies.task import PreparedTask
from ..store.files import copy, read_json, remove, write_json

CALIBRATIONS = 3
"""Tries at a calibration that nothing disturbs: every latency of a study hangs on it."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Station:
    """template: what students are written into for this target. meter: measures beside the teacher's own file, which
    lies in `folder` with the calibration and the latencies of shapes measured so far."""

    target: Target
    runtime: Runtime
    template: Template
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


class Templates:
    """A network's graph, exported once for each batch that some target asks for: an export takes seconds.

    exact: of this one network; else of all its students. See `make_template`."""

    def __init__(self, network: torch.nn.Module, example_input: torch.Tensor, exact: bool = False) -> None:
        self._network, self._example, self._exact = network, example_input, exact
        self._made: dict[int, Template] = {}

    def get(self, batch: int) -> Template:
        """The template for a batch; 1 leaves it free."""
        if batch not in self._made:
            self._made[batch] = make_template(self._network, self.many(batch), self._exact)
        return self._made[batch]

    def many(self, batch: int) -> torch.Tensor:
        """The example input, `batch` times."""
        return torch.cat(list(itertools.repeat(self._example, batch)))


def usable_runtime(target: Target) -> Runtime:
    """The target's runtime. Raises UnknownName, and RuntimeUnavailable where it cannot run here."""
    runtime = get_runtime(target.runtime)
    availability = runtime.available()
    if not availability.ok:
        raise RuntimeUnavailable(f"runtime {target.runtime!r} cannot be used: {availability.reason}")
    return runtime


def open_station(
    task: PreparedTask,
    target: Target,
    templates: Templates,
    folder: Path,
    precision: float,
    measured: bool,
    worker: bool,
    say: Say,
) -> Station:
    """Build the teacher's file and calibrate the target; what is in `folder` already is taken from there.

    precision: of latencies, see `LatencyMeter`. measured: the study has latencies that must compare with this
    calibration. worker: nothing may be written. Raises ExportError, RuntimeUnavailable, MeasurementError, StorageError.
    """
    runtime = usable_runtime(target)
    template, reference = _teacher_file(task, runtime, target, templates, folder)
    known = read_json(folder / "calibration.json")
    meter = LatencyMeter(target, reference, None if known is None else Calibration.from_dict(known), precision)
    if not meter.is_current():
        if worker:
            raise MeasurementError(
                f"{folder}: calibrated on another kind of machine than this worker's; use alike nodes"
            )
        if measured:
            # a study's latencies are compared with each other: all of them, or none, under the present conditions
            raise StorageError(
                f"{folder} was measured under other conditions (machine, runtime version, threads or memory settings): "
                "its latencies would not compare with today's; use --fresh"
            )
        meter = _calibrated(target, reference, precision, say)
        assert meter.calibration is not None
        write_json(folder / "calibration.json", meter.calibration.to_dict())
    return Station(target, runtime, template, meter, folder)


def _calibrated(target: Target, reference: Path, precision: float, say: Say) -> LatencyMeter:
    meter = LatencyMeter.calibrated(target, reference, precision)
    for _ in range(CALIBRATIONS - 1):
        assert meter.calibration is not None
        if not meter.calibration.disturbed:
            return meter
        say("other work ran while the target was calibrated; calibrating again")
        meter = LatencyMeter.calibrated(target, reference, precision)
    if meter.calibration is not None and meter.calibration.disturbed:
        say("the machine stayed busy: latencies of this study are marked as disturbed and may read too high")
    return meter


def _teacher_file(
    task: PreparedTask, runtime: Runtime, target: Target, templates: Templates, folder: Path
) -> tuple[Template, Path]:
    """The template, with a free batch dimension where the network and the runtime allow one, and the teacher's file."""
    reference = folder / f"teacher{runtime.suffix}"
    example = task.example_input.numpy()
    folder.mkdir(parents=True, exist_ok=True)
    trial = folder / f"teacher.{os.getpid()}.part{runtime.suffix}"
    for free in (True, False):
        template = templates.get(1 if free else target.batch)
        calibration = task.calibration[: max(2, target.batch)].numpy()
        model = template.write(task.teacher)
        request = BuildRequest(model, template.layers, {}, calibration, task.teacher, template.batch, target.batch)
        try:
            runtime.build(request, trial)
            loaded = runtime.load(trial, target)
            if loaded.input_shape[0] not in (None, target.batch):
                raise MeasurementError(f"{trial}: takes {loaded.input_shape[0]} inputs at a time, not {target.batch}")
            for size in (1, 3) if loaded.input_shape[0] is None else (target.batch,):
                loaded.run(np.repeat(example, size, axis=0))
        except MeasurementError:
            if not free:
                raise
            continue  # a class token or the like fixes the batch: export for the target's own
        expected = task.teacher(templates.many(target.batch)).detach().numpy()
        off = np.abs(loaded.run(np.repeat(example, target.batch, axis=0)) - expected).max()
        if off > 1e-3 * max(1.0, float(np.abs(expected).max())):
            # weights that the exporter stores in another form were not written: this file is exported on its own
            exact = make_template(task.teacher, templates.many(template.batch), exact=True)
            runtime.build(replace(request, model=exact.write(task.teacher), layers=exact.layers), trial)
        if not reference.exists():
            copy(trial, reference)
        remove(trial)
        return template, reference
    raise AssertionError("one of the two forms loads or raises")
