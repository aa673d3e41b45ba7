"""The workbench: everything that one process needs to make and measure students of one study."""

from __future__ import annotations

import copy
import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from ..compression.distill import Lessons
from ..compression.export import Template, make_template
from ..compression.images import ImageData
from ..compression.precision import module_to_training_layout, training_device
from ..compression.recover import Recoverer, Schedule
from ..errors import MeasurementError, RuntimeUnavailable, StorageError
from ..evaluators.latency import Calibration, LatencyMeter
from ..evaluators.quiet import QuietMachine
from ..evaluators.runtimes.base import BuildRequest, Runtime
from ..evaluators.runtimes.registry import get_runtime
from ..spaces.axis import Ground
from ..spaces.groups import LeftOut, find_groups
from ..spaces.layers import find_layers
from ..spaces.space import Space, build_space
from ..spaces.target import Target
from ..studies.schema import StudySections
from ..studies.task import PreparedTask
from .files import read_json, write_bytes, write_json

CALIBRATIONS = 3
"""Tries at a calibration that nothing disturbs: every latency of a study hangs on it."""
LOOK_IMAGES = 5000
"""At most this many validation images are looked at after a rung; the file itself is judged on all of them."""


@dataclass(frozen=True)
class Workbench:
    """A study's tools. reference: the teacher's own file, beside which every latency is measured."""

    task: PreparedTask
    target: Target
    runtime: Runtime
    space: Space
    template: Template
    recoverer: Recoverer
    meter: LatencyMeter
    left_out: tuple[LeftOut, ...]
    folder: Path
    stop: Callable[[], bool]

    @property
    def reference(self) -> Path:
        """The teacher's own file."""
        return self.meter.reference


def open_workbench(
    task: PreparedTask,
    settings: StudySections,
    folder: Path,
    stop: Callable[[], bool] = lambda: False,
    log: Callable[[str], None] = lambda line: None,
    worker: bool = False,
) -> Workbench:
    """Look at the teacher, export it, and calibrate the target; what was measured before is taken from `folder`.

    worker: this process works for a driver, which has calibrated already; it changes nothing in the folder.

    Raises:
        ExportError: the teacher cannot be exported. RuntimeUnavailable, MeasurementError: the target cannot be used.
        UnknownName: the study names an axis, layer or runtime that does not exist.
    """
    ground, left_out = lay_ground(task, settings)
    log(f"network: {len(ground.layers)} layers, {len(ground.groups)} prunable groups, {len(left_out)} left out")
    target, runtime = _target(settings)
    teacher = task.teacher
    space = build_space(ground, settings.space.axes)
    template, reference = _teacher_file(task, runtime, target, folder)
    meter = LatencyMeter(target, reference, _calibration(folder))
    if not meter.is_current():
        if worker:
            raise MeasurementError(
                f"{folder}: calibrated on another kind of machine than this worker's; use alike nodes"
            )
        _refuse_mixture(folder)
        meter = LatencyMeter.calibrated(target, reference)
        for _ in range(CALIBRATIONS - 1):
            assert meter.calibration is not None
            if not meter.calibration.disturbed:
                break
            log("other work ran while the target was calibrated; calibrating again")
            meter = LatencyMeter.calibrated(target, reference)
        assert meter.calibration is not None
        if meter.calibration.disturbed:
            log("the machine stayed busy: latencies of this study are marked as disturbed and may read too high")
        write_json(folder / "calibration.json", meter.calibration.to_dict())
    device = training_device()
    last = next((layer.name for layer in reversed(ground.layers) if layer.kind == "linear"), None)
    quiet = QuietMachine(target.device)
    schedule = Schedule(
        epochs=settings.recovery.epochs,
        rungs=settings.recovery.rungs,
        batch_size=settings.recovery.batch_size,
        weight_decay=settings.recovery.weight_decay,
        seed=settings.search.seed,
    )
    answering = module_to_training_layout(copy.deepcopy(teacher), device)
    train = task.train.to(device) if isinstance(task.train, ImageData) else task.train
    recoverer = Recoverer(train, Lessons(answering, last, device), schedule, device, quiet.training_slice)
    return Workbench(task, target, runtime, space, template, recoverer, meter, left_out, folder, stop)


def lay_ground(task: PreparedTask, settings: StudySections) -> tuple[Ground, tuple[LeftOut, ...]]:
    """What the study's space stands on, and the groups that cannot be pruned. Raises as `open_workbench` does."""
    target, runtime = _target(settings)
    teacher, example = task.teacher.cpu(), task.example_input
    layers = find_layers(teacher, example)
    groups, left_out = find_groups(teacher, example, {layer.name: layer.depth for layer in layers})
    ground = Ground(
        layers=layers,
        groups=groups,
        capabilities=runtime.capabilities(target),
        keep=frozenset(settings.space.keep),
        min_fraction=settings.space.min_channels_fraction,
        storage_counts=storage_counts(settings),
        bits=settings.space.bits,
        patterns=settings.space.patterns,
    )
    return ground, left_out


def _target(settings: StudySections) -> tuple[Target, Runtime]:
    target = Target(**settings.target.model_dump())
    runtime = get_runtime(target.runtime)
    availability = runtime.available()
    if not availability.ok:
        raise RuntimeUnavailable(f"runtime {target.runtime!r} cannot be used: {availability.reason}")
    return target, runtime


def storage_counts(settings: StudySections) -> bool:
    """Whether the size of files is an objective or a constraint of this study."""
    sizes = {"size_bytes", "compressed_bytes"} & set(settings.search.objectives)
    return bool(sizes) or settings.budget.max_mb is not None


def largest_difference(bench: Workbench, path: Path, module: torch.nn.Module, count: int = 4) -> float:
    """Largest absolute difference of outputs between a file and its student over `count` validation inputs,
    relative to the largest output (at least 1)."""
    from ..evaluators.accuracy import predict

    inputs = bench.task.validation.inputs(slice(0, count))
    got = predict(path, bench.runtime, bench.target, inputs.numpy())
    with torch.no_grad():
        expected = module.cpu().eval()(inputs).float().numpy()
    return float(np.abs(got - expected).max() / max(1.0, float(np.abs(expected).max())))


def _teacher_file(task: PreparedTask, runtime: Runtime, target: Target, folder: Path) -> tuple[Template, Path]:
    """The template, with a free batch dimension where the network allows one, and the teacher's file."""
    reference = folder / f"teacher{runtime.suffix}"
    example = task.example_input
    for batch in (None, target.batch):
        many = example if batch is None else torch.cat(list(itertools.repeat(example, batch)))
        template = make_template(task.teacher, many)
        calibration = task.calibration[: max(2, target.batch)].numpy()
        request = BuildRequest(
            template.write(task.teacher), template.layers, {}, calibration, task.teacher, template.batch
        )
        trial = reference.with_suffix(f".{os.getpid()}.part")
        trial.parent.mkdir(parents=True, exist_ok=True)
        runtime.build(request, trial)
        try:
            loaded = runtime.load(trial, target)
            sizes = (1, 3) if batch is None else (target.batch,)
            for size in sizes:
                loaded.run(np.repeat(example.numpy(), size, axis=0))
        except MeasurementError:
            if batch is not None:
                raise
            continue  # a class token or the like fixes the batch: export for the target's own
        size = template.batch
        expected = task.teacher(torch.cat([example] * size)).detach().numpy()
        off = np.abs(loaded.run(np.repeat(example.numpy(), size, axis=0)) - expected).max()
        if off > 1e-3 * max(1.0, float(np.abs(expected).max())):
            # weights that the exporter stores in another form were not written: this file is exported on its own
            exact = make_template(task.teacher, many, exact=True)
            runtime.build(replace(request, model=exact.write(task.teacher), layers=exact.layers), trial)
        if not reference.exists():
            write_bytes(reference, trial.read_bytes())
        trial.unlink()
        return template, reference
    raise AssertionError("one of the two forms loads or raises")


def _refuse_mixture(folder: Path) -> None:
    """A study's latencies are compared with each other: all of them, or none, under the present conditions."""
    if any((folder / "trials").glob("*/measurement.json")):
        raise StorageError(
            f"{folder} was measured under other conditions (machine, runtime version, threads or memory settings): "
            "its latencies would not compare with today's; use --fresh"
        )


def _calibration(folder: Path) -> Calibration | None:
    data = read_json(folder / "calibration.json")
    return None if data is None else Calibration.from_dict(data)
