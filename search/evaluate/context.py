"""The workbench: everything that one process needs to make and measure students of one study."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from ...compression.distill import Lessons
from ...compression.precision import module_to_training_layout, training_device
from ...compression.recover import Recoverer, Schedule
from ...evaluators.latency import LatencyMeter
from ...evaluators.microbenchmarks import study_knobs
from ...evaluators.runtimes.base import Runtime
from ...evaluators.timing.quiet import QuietMachine, lock_name
from ...spaces.axes.base import Ground
from ...spaces.axes.target import joint_capabilities
from ...spaces.groups import LeftOut, find_groups
from ...spaces.layers import find_layers
from ...spaces.plan import Plan
from ...spaces.space import Space, build_space
from ...spaces.target import Capabilities, Target
from ...studies.data.images import ImageData
from ...studies.schema import StudySections
from ...studies.task import PreparedTask
from .target_session import Say, Station, Templates, open_station, usable_runtime

LOOK_IMAGES = 5000
"""At most this many validation images are looked at after a rung; the file itself is judged on all of them."""


@dataclass(frozen=True)
class Workbench:
    """A study's tools. stations: one for each target; students are built for all of them, or for the one that their
    plan chooses."""

    task: PreparedTask
    stations: tuple[Station, ...]
    space: Space
    recoverer: Recoverer
    left_out: tuple[LeftOut, ...]
    folder: Path
    stop: Callable[[], bool]

    @property
    def first(self) -> Station:
        """The first target's."""
        return self.stations[0]

    @property
    def target(self) -> Target:
        """The first target."""
        return self.first.target

    @property
    def runtime(self) -> Runtime:
        """The first target's."""
        return self.first.runtime

    @property
    def meter(self) -> LatencyMeter:
        """The first target's."""
        return self.first.meter

    @property
    def reference(self) -> Path:
        """The teacher's own file for the first target."""
        return self.meter.reference

    def homes(self, plan: Plan) -> tuple[Station, ...]:
        """The stations that files of this plan are built for."""
        if not plan.target:
            return self.stations
        return tuple(station for station in self.stations if station.name == plan.target)

    def at(self, station: Station, space: Space) -> Workbench:
        """The same with one target alone, and a space for it."""
        return replace(self, stations=(station,), space=space)


def open_workbench(
    task: PreparedTask,
    settings: StudySections,
    folder: Path,
    stop: Callable[[], bool] = lambda: False,
    log: Say = lambda line: None,
    worker: bool = False,
) -> Workbench:
    """Look at the teacher, export it, and calibrate the targets; what was measured before is taken from `folder`.

    worker: this process works for a driver, which has calibrated already; it changes nothing in the folder.

    Raises:
        ExportError: the teacher cannot be exported. RuntimeUnavailable, MeasurementError: a target cannot be used.
        UnknownName: the study names an axis, layer or runtime that does not exist.
    """
    ground, left_out = lay_ground(task, settings)
    log(f"network: {len(ground.layers)} layers, {len(ground.groups)} prunable groups, {len(left_out)} left out")
    targets = settings.target.targets()
    templates = Templates(task.teacher, task.example_input)
    measured = any((folder / "trials").glob("*/measurement.json"))
    stations: list[Station] = []
    for target in targets:
        place = folder / "targets" / target.name if stations else folder
        precision = settings.target.precision
        stations.append(open_station(task, target, templates, place, precision, measured, worker, log))
    # the space of a study stays what it was: one that was begun without knobs goes on without them
    begun = worker or any((folder / "trials").glob("*/plan.json"))
    seconds = settings.target.probe_seconds
    ground = replace(ground, knobs=study_knobs(targets, ground.layers, folder, seconds, begun, log, stop))
    device = training_device()
    last = next((layer.name for layer in reversed(ground.layers) if layer.kind == "linear"), None)
    schedule = Schedule(
        epochs=settings.recovery.epochs,
        rungs=settings.recovery.rungs,
        batch_size=settings.recovery.batch_size,
        weight_decay=settings.recovery.weight_decay,
        seed=settings.search.seed,
    )
    answering = module_to_training_layout(copy.deepcopy(task.teacher), device)
    train = task.train.to(device) if isinstance(task.train, ImageData) else task.train
    lessons = Lessons(answering, last, device)
    recoverer = Recoverer(train, lessons, schedule, device, training_slices([s.target for s in stations]))
    space = build_space(ground, settings.space.axes, homes(settings))
    return Workbench(task, tuple(stations), space, recoverer, left_out, folder, stop)


def lay_ground(task: PreparedTask, settings: StudySections) -> tuple[Ground, tuple[LeftOut, ...]]:
    """What the study's space stands on, and the groups that cannot be pruned. Raises as `open_workbench` does."""
    targets = settings.target.targets()
    found = [usable_runtime(target).capabilities(target) for target in targets]
    teacher, example = task.teacher.cpu(), task.example_input
    layers = find_layers(teacher, example)
    groups, left_out = find_groups(teacher, example, {layer.name: layer.depth for layer in layers})
    ground = Ground(
        layers=layers,
        groups=groups,
        capabilities=joint_capabilities(found, settings.target.any_of),
        keep=frozenset(settings.space.keep),
        min_fraction=settings.space.min_channels_fraction,
        storage_counts=storage_counts(settings),
        bits=settings.space.bits,
        patterns=settings.space.patterns,
    )
    return ground, left_out


def homes(settings: StudySections) -> Mapping[str, Capabilities]:
    """The targets that each plan chooses from, name -> capabilities; empty where plans do not choose."""
    if not settings.target.any_of:
        return {}
    return {t.name: usable_runtime(t).capabilities(t) for t in settings.target.targets()}


def storage_counts(settings: StudySections) -> bool:
    """Whether the size of files is an objective or a constraint of this study."""
    sizes = {"size_bytes", "compressed_bytes"} & set(settings.search.objectives)
    return bool(sizes) or settings.budget.max_mb is not None


def training_slices(targets: Sequence[Target]) -> Callable[[], contextlib.AbstractContextManager[None]]:
    """What a slice of training runs under: it pauses while a latency is measured on any of the targets' devices."""
    locks = [QuietMachine(device) for device in sorted({lock_name(target.device) for target in targets})]

    @contextlib.contextmanager
    def slices() -> Iterator[None]:
        with contextlib.ExitStack() as held:
            for lock in locks:
                held.enter_context(lock.training_slice())
            yield

    return slices if len(locks) > 1 else locks[0].training_slice


def largest_difference(
    bench: Workbench, station: Station, path: Path, module: torch.nn.Module, count: int = 4
) -> float:
    """Largest absolute difference of outputs between a file and its student over `count` validation inputs,
    relative to the largest output (at least 1)."""
    from ...evaluators.accuracy import predict

    inputs = bench.task.validation.inputs(slice(0, count))
    got = predict(path, station.runtime, station.target, inputs.numpy())
    with torch.no_grad():
        expected = module.cpu().eval()(inputs).float().numpy()
    return float(np.abs(got - expected).max() / max(1.0, float(np.abs(expected).max())))
