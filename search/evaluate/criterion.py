"""Which channels of a study's network matter: rated once by the study's criterion, and the same from then on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from ...compression.edits import Parent
from ...compression.fake_quant import FakeQuantizer
from ...compression.first_look import first_look
from ...compression.importance import COMPARED, FOUND_WITH, rated
from ...compression.precision import training_device
from ...compression.seeds import seeded_generator
from ...compression.student import make_student
from ...errors import MetricError, StorageError
from ...evaluators.microbenchmarks import Say
from ...evaluators.timing.breathing import Slices, breathing
from ...files import read_object, write_json
from ...spaces.groups import Group
from ...spaces.inputs import Inputs, joined, rows_of
from ...spaces.network import Network
from ...spaces.spec import StudentSpec
from ...studies.data.streams import StreamedData
from ...studies.schema import StudySections
from ...studies.task import PreparedTask
from ..identity import FILE as IDENTITY
from ..store.importance import FILE, Importance, read_importance, write_importance

KEY = "importance of channels"
"""In a study's identity."""
LEAST, MOST = 64, 256
"""Training examples that gradients are taken on."""
MACS = 20_000_000_000
"""Multiply-accumulates of one pass over them; heavy networks are looked at on fewer, down to the least."""


def rated_network(
    network: Network,
    task: PreparedTask,
    settings: StudySections,
    folder: Path | None,
    worker: bool = False,
    say: Say = lambda line: None,
    slices: Slices = nullcontext,
) -> Network:
    """Return a network whose channels are rated by the criterion of the study.

    What was found first stays: gradients differ a little from machine to machine, and students of one study must keep
    the same channels. So the study's folder keeps them, and its identity knows them. Students of the user's own are
    rated by the criterion of the teacher, once they were taught for the first time.

    Args:
        network: As it was found, with students beside it.
        task: The study's task.
        settings: The study's settings.
        folder: The study's folder; None where nothing is kept.
        worker: Whether the folder must have them already.
        say: Takes a line about what was found.
        slices: Makes what short slices of this work run under, so that latencies are measured in peace.

    Raises:
        StorageError: They are gone, damaged or those of another study, or the disk cannot be written.
        MeasurementError: The loss has no gradient.
    """
    if settings.space.criterion == FOUND_WITH:
        return network
    known = None if folder is None else read_importance(folder)
    if known is None and worker:
        raise StorageError(f"{folder}: its {FILE} is gone, which says which channels stay; restore it from a copy")
    if known is None:
        with breathing(slices) as breathe:
            found = _Rating(network, task, settings, breathe, say).rated()
    else:
        found = known
    given = replace(network, groups=found.given_to(network.groups))
    students = {
        name: replace(student, groups=found.given_to(student.groups)) if found.knows(student.groups) else student
        for name, student in network.students.items()
    }
    if folder is not None:
        if known is None:
            write_importance(folder, found)  # first: once it is noted, it has to be there
        _check(folder, found, worker)
    return replace(given, students=students)


def _check(folder: Path, found: Importance, worker: bool) -> None:
    """Hold the importance of channels against the study's identity, which notes it."""
    identity, now = read_object(folder / IDENTITY), f"{found.criterion}, {found.digest}"
    if identity is None:
        return
    before = identity.get(KEY)
    if before is None and not worker:
        write_json(folder / IDENTITY, {**identity, KEY: now})
    elif before not in (None, now):
        raise StorageError(
            f"{folder} was begun with another {KEY} ({before}, now {now}): restore its {FILE} from a copy, or use "
            "--fresh"
        )


@dataclass(frozen=True)
class _Rating:
    """Rates the channels of a teacher and its students; see `rated_network`."""

    network: Network
    task: PreparedTask
    settings: StudySections
    breathe: Callable[[], None]
    say: Say

    def rated(self) -> Importance:
        asked = self.settings.space.criterion
        criterion, groups = self._compared() if asked == "compared" else (asked, self._by(asked))
        for name, student in self.network.students.items():
            groups += self._rated(self.task.students[name], student.groups, criterion)
        return Importance.of(criterion, groups)

    def _compared(self) -> tuple[str, tuple[Group, ...]]:
        found = {name: self._by(name) for name in COMPARED}
        looks: dict[str, float] = {}
        for name, groups in found.items():
            self.breathe()
            with suppress(MetricError):  # some metrics are not defined for a student that says one class for all
                looks[name] = self._look(groups)
        best = max(looks, key=looks.__getitem__, default=FOUND_WITH)
        label = self.task.metric.label
        told = ", ".join(f"{name} {label.text(look)}" for name, look in looks.items())
        self.say(f"channels are rated by {best}; {label.name} of half the width, untrained: {told or 'not defined'}")
        return best, found[best]

    def _by(self, criterion: str) -> tuple[Group, ...]:
        return self._rated(self.task.teacher, self.network.groups, criterion)

    def _rated(self, module: nn.Module, groups: Sequence[Group], criterion: str) -> tuple[Group, ...]:
        seed, loss = self.settings.search.seed, self.task.losses.hard
        return rated(module, groups, criterion, self._examples, loss, seed, training_device(), self.breathe)

    def _look(self, groups: Sequence[Group]) -> float:
        keep = set(self.settings.space.keep)
        halves = {
            group.name: max(1, group.channels // 2 // group.blocks) * group.blocks
            for group in groups
            if not keep & {member.layer for member in group.members if member.side != "in"}
        }
        student = make_student(Parent(self.task.teacher, groups), StudentSpec(halves))
        task, fake, metric = self.task, FakeQuantizer(student.module, {}), self.task.metric.quality
        return first_look(
            student, fake, task.calibration, task.validation, metric, training_device(), task.losses.precise
        )

    def _examples(self) -> tuple[Inputs, Tensor]:
        """Return some of the training data as it is, [N, ...]; of a stream its first batches."""
        train, macs = self.task.train, max(1, sum(layer.macs for layer in self.network.layers))
        count = min(MOST, max(LEAST, MACS // macs), len(train))
        if not isinstance(train, StreamedData):
            rows = torch.randperm(len(train), generator=seeded_generator("calibration"))[:count]
            return train.inputs(rows), train.labels[rows]
        plan = train.epoch_plan(epoch=0, batch_size=min(LEAST, count), seed=0)
        batches: list[tuple[Inputs, Tensor]] = []
        while sum(len(labels) for _, labels in batches) < count and len(batches) < plan.steps:
            batches.append(plan.batch(len(batches)))
        inputs, labels = joined([each for each, _ in batches]), torch.cat([each for _, each in batches])
        return rows_of(inputs, slice(0, count)), labels[:count]
