"""The evaluation context: everything that one process needs to make and measure students of one study."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...compression.attention import longest_sequence
from ...compression.distill import Lessons
from ...compression.edits import Parent
from ...compression.precision import module_to_training_layout, training_device
from ...compression.recover import Recoverer
from ...compression.schedule import Schedule, fitting_schedule
from ...evaluators.activations import Activations
from ...evaluators.microbenchmarks import Say
from ...evaluators.runtimes.base import check_inputs
from ...evaluators.templates import Templates
from ...evaluators.timing.breathing import Slices
from ...evaluators.timing.host import HERE, TimingHost
from ...evaluators.timing.quiet import QuietMachine, lock_name
from ...spaces.inputs import tensors_of
from ...spaces.network import Network
from ...spaces.spec import StudentSpec
from ...spaces.target import PerTarget, Target
from ...studies.checks import FEW, check_training
from ...studies.data.streams import StreamedData
from ...studies.schema import StudySections
from ...studies.task import PreparedTask
from ..store.layout import remeasuring, target_folder
from .batch_memory import check_batch, remark_on_training
from .criterion import rated_network
from .first_weights import check_first_weights, load_first_weights, look_at_students, teach_students
from .look import look_at_teacher
from .target_session import TargetSession, open_session, usable_runtime

LOOK_EXAMPLES = 5000
"""At most this many validation examples are looked at after a rung; the file itself is judged on all of them."""


@dataclass(frozen=True)
class EvaluationContext:
    """What a process has of one study.

    Attributes:
        task: The teacher, its data, its losses and its metric.
        network: The teacher's layers and groups.
        sessions: A session with each target. Students are built for all of them, or for the one that a plan chose.
        recoverer: Teaches students.
        folder: The study's folder.
        stop: Whether to end early.
        host: The machine that times files.
    """

    task: PreparedTask
    network: Network
    sessions: PerTarget[TargetSession]
    recoverer: Recoverer
    folder: Path
    stop: Callable[[], bool]
    host: TimingHost = HERE

    @property
    def parent(self) -> Parent:
        """The network that students are cut from."""
        return parent_of(self.task, self.network)

    @property
    def slices(self) -> Slices:
        """Makes what each short slice of work runs under, so that latencies are measured in peace."""
        return self.recoverer.quiet

    @property
    def targets(self) -> tuple[Target, ...]:
        """The study's targets."""
        return tuple(session.target for session in self.sessions.values())

    def sessions_for(self, spec: StudentSpec) -> PerTarget[TargetSession]:
        """Return the sessions that files of this student are built for."""
        return {name: session for name, session in self.sessions.items() if spec.target in ("", name)}


def parent_of(task: PreparedTask, network: Network) -> Parent:
    """Return the network that students are cut from, with those of the user's own beside it."""
    return Parent.of(task.teacher, network, task.early).beside(task.students, network.students)


def open_context(
    task: PreparedTask,
    settings: StudySections,
    folder: Path,
    stop: Callable[[], bool] = lambda: False,
    say: Say = lambda line: None,
    worker: bool = False,
    time_left_s: Callable[[], float | None] = lambda: None,
    host: TimingHost = HERE,
) -> EvaluationContext:
    """Look at the teacher, export it, and calibrate the targets; what was measured before is taken from `folder`.

    Args:
        task: The study's task.
        settings: The study's settings.
        folder: The study's folder.
        stop: Whether to end early.
        say: Takes a line about what is going on.
        worker: Whether this process works for a driver, which has calibrated already.
        time_left_s: Returns the seconds of the search that are left, None without an end.
        host: The machine that times files.

    Raises:
        ExportError: The teacher cannot be exported.
        RuntimeUnavailable: A target cannot be used here.
        MeasurementError: A target cannot be measured.
        UnknownName: The study names a runtime that does not exist.
        UsageError: The study names an aid that its teacher cannot give.
        StorageError: What the study kept of its network is gone or damaged.
    """
    network = look_at_teacher(task, settings.space.axes, folder, keeps=not worker)
    say(
        f"network: {len(network.layers)} layers, {len(network.groups)} prunable groups, "
        f"{len(network.left_out)} left out"
    )
    targets = settings.target.targets()
    if not worker:
        for target in targets:  # told before own students are taught: a build would tell it after
            can = usable_runtime(target).capabilities(target)
            check_inputs(target.runtime, can, len(tensors_of(task.example_input)))
        check_batch(task, settings.target.batch)
    recoverer = _recoverer(task, settings, network, worker, say)
    if task.students:
        if not worker:
            teach_students(task, recoverer, settings.recovery, folder, stop, say)
        load_first_weights(task, folder)
        check_first_weights(task, folder, worker)
        network = replace(network, students=look_at_students(task))
    network = rated_network(network, task, settings, folder, worker, say, training_slices(targets))
    templates = Templates(task.teacher, task.example_input, parent=parent_of(task, network))
    # any gate is compared with the calibration, that of a trial which still waits too
    measured = any((folder / "trials").glob("*/plan.json")) and not remeasuring(folder)
    precision = settings.target.precision
    activations = Activations(settings.recovery.calibration, task.losses.soft)
    sessions = {
        t.name: open_session(
            task,
            t,
            templates,
            target_folder(folder, t.name),
            precision,
            measured,
            worker,
            say,
            time_left_s,
            host,
            activations,
        )
        for t in targets
    }
    return EvaluationContext(task, network, sessions, recoverer, folder, stop, host)


def _recoverer(task: PreparedTask, settings: StudySections, network: Network, worker: bool, say: Say) -> Recoverer:
    """Return what teaches students of a study; see `open_context`."""
    device = training_device()
    last = next((layer.name for layer in reversed(network.layers) if layer.kind == "linear"), None)
    epochs, batch_size = fitting_schedule(len(task.train), settings.recovery.epochs, settings.recovery.batch_size)
    if isinstance(task.train, StreamedData):
        batch_size = task.train.batch_of(batch_size)
    schedule = Schedule(
        epochs=epochs,
        rungs=settings.recovery.rungs,
        batch_size=batch_size,
        weight_decay=settings.recovery.weight_decay,
    )
    if batch_size < FEW and not worker:
        check_training(task.teacher, task.train, task.losses, batch_size)
    steps = schedule.steps(task.train)
    say(f"recovery: {steps} steps with batches of {batch_size}, {epochs:.3g} epochs")
    if not worker and (remark := remark_on_training(task, batch_size)):
        say(remark)
    answering = module_to_training_layout(copy.deepcopy(task.teacher), device)
    lessons = Lessons(answering, last, device, task.losses.precise, frozenset(settings.recovery.aids))
    if not worker:
        lessons.check_offered(task.example_input)
    train = task.train.to(device) if not isinstance(task.train, StreamedData) else task.train
    return Recoverer(
        train,
        lessons,
        schedule,
        device,
        training_slices(settings.target.targets()),
        task.losses,
        longest_sequence(task.teacher, task.example_input),
        network.layers[-1].name if network.layers else None,
        min(usable_runtime(target).capabilities(target).weight_top for target in settings.target.targets()),
    )


def training_slices(targets: Sequence[Target]) -> Callable[[], contextlib.AbstractContextManager[None]]:
    """Return what a slice of training runs under: it pauses while a latency is measured on a target's device."""
    locks = [QuietMachine(device) for device in sorted({lock_name(target.device) for target in targets})]

    @contextlib.contextmanager
    def slices() -> Iterator[None]:
        with contextlib.ExitStack() as held:
            for lock in locks:
                held.enter_context(lock.training_slice())
            yield

    return slices if len(locks) > 1 else locks[0].training_slice
