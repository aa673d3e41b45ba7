"""Recovery: a shrunk student learns from the teacher, rung by rung, and can stop and go on at any rung."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import TrialFailed
from ..files import write_bytes
from ..spaces.inputs import Inputs, call
from ..spaces.spec import Recovery, StudentSpec
from .attention import attention_context
from .distill import FeatureTap, Lessons, distillation_loss
from .fake_quant import FakeQuantizer
from .gradual import Ramp
from .losses import CLASSIFICATION, Losses
from .precision import autocast_context, module_to_training_layout, to_training_layout
from .recovered import read_checkpoint
from .student import Student
from .training_data import TrainingData

SLICE_STEPS = 5
"""Steps between looks at the clock of others: whether to stop, and whether a latency is being measured."""
MOMENTUM = 0.9
WARMUP = 0.05
CLIP_NORM = 5.0
EPOCHS, MOST_EPOCHS = 2.0, 10.0
SMALL_BATCH, LARGE_BATCH = 16, 128
ENOUGH_STEPS = 200
AWARE_FROM = 0.5
"""Fake quantization sets in after this part of the training. Weights settle first, then the grid."""


@dataclass(frozen=True)
class Schedule:
    """How long a full recovery is.

    Attributes:
        epochs: Passes over the training data.
        rungs: Fractions of it, ascending, the last 1.
        batch_size: Inputs in a batch.
        weight_decay: Of the weights of layers; biases and norms have none.
        seed: Of the order of the data, and of dropout.
    """

    epochs: float
    rungs: tuple[float, ...]
    batch_size: int
    weight_decay: float = 5e-4
    seed: int = 0

    def steps(self, data: TrainingData) -> int:
        """Return the number of optimizer steps of a full recovery."""
        return max(len(self.rungs), round(self.epochs * data.epoch_plan(0, self.batch_size, self.seed).steps))

    def rung_step(self, rung: int, data: TrainingData) -> int:
        """Return the step at which this rung (0 is the first) ends."""
        return max(rung + 1, round(self.steps(data) * self.rungs[rung]))


def fitting_schedule(examples: int, epochs: float | None = None, batch_size: int | None = None) -> tuple[float, int]:
    """Return how many epochs, and which batch, a training on so many examples takes.

    Students recover by steps: at half the width, a U-Net of 1,280 tiles came to an mIoU of 0.40 after 20 steps with
    batches of 128, and to 0.73 after 160 with batches of 16, in about the same time.

    Args:
        examples: Of the training data.
        epochs: As a user asks; None gives 2, and up to `MOST_EPOCHS` where the smallest batches are too few.
        batch_size: As a user asks; None gives the largest power of two that makes `ENOUGH_STEPS`.
    """
    smallest = batch_size or SMALL_BATCH
    if epochs is None:
        epochs = min(MOST_EPOCHS, max(EPOCHS, ENOUGH_STEPS * smallest / max(1, examples)))
    if batch_size is None:
        most = max(1.0, epochs * examples / ENOUGH_STEPS)
        batch_size = min(LARGE_BATCH, max(SMALL_BATCH, 2 ** math.floor(math.log2(most))))
    return epochs, batch_size


class Stopped(Exception):
    """Training was asked to stop. Its checkpoint says at which step, and the same rung goes on from there."""


@dataclass(frozen=True)
class Recoverer:
    """Trains students.

    Attributes:
        data: What they are taught on.
        lessons: The teacher's answers.
        schedule: How long a training is.
        device: Where it runs.
        quiet: Makes a context that is entered around every few steps, so that latencies are measured in peace.
        losses: What students are taught by.
        longest_sequence: That attention in the teacher has queries from; see `compression.attention`.
    """

    data: TrainingData
    lessons: Lessons
    schedule: Schedule
    device: torch.device
    quiet: Callable[[], AbstractContextManager[Any]]
    losses: Losses = CLASSIFICATION
    longest_sequence: int = 0

    def with_seed(self, seed: int) -> Recoverer:
        """Return what trains with this seed in place of the schedule's own."""
        return replace(self, schedule=replace(self.schedule, seed=seed))

    def recover(
        self, student: Student, spec: StudentSpec, rung: int, checkpoint: Path, stop: Callable[[], bool]
    ) -> FakeQuantizer:
        """Train a student up to the end of a rung, from its checkpoint if there is one, and write that anew.

        Args:
            student: Trained in place, made by `make_student` of the same specification, or of what it begins with
                where zeros come little by little (`gradual.begins_with`).
            spec: Its specification, with a recovery.
            rung: Number of the rung, from 0.
            checkpoint: The file.
            stop: Whether to end early, asked before every step.

        Returns:
            The fake quantization of its bits, switched off, with the ranges that the training saw, if it saw any.

        Raises:
            TrialFailed: The loss is no longer a number.
            Stopped: `stop()` came true.
            StorageError: The disk is full or cannot be written.
        """
        recovery = spec.recovery
        assert recovery is not None
        total = self.schedule.steps(self.data)
        until = self.schedule.rung_step(rung, self.data)
        module = module_to_training_layout(student.module, self.device)
        optimizer = _optimizer(recovery, _parameter_sets(module, self.schedule.weight_decay))
        fake = FakeQuantizer(module, spec.bits)
        step, masks = _load(checkpoint, module, optimizer, fake)
        ramp = Ramp.of(spec, total)
        student = student if ramp is None else replace(student, masks=masks)
        kept = student.stayed_inputs.get(self.lessons.last_layer or "")
        module.train()
        torch.manual_seed(self.schedule.seed + step)  # for networks with dropout
        try:
            batches = _Batches(self.data, self.schedule)
            while step < until:
                if stop():
                    _save(checkpoint, module, optimizer, fake, step, student.masks if ramp else None)
                    raise Stopped
                begun = step
                with self.quiet():
                    for now in range(step, min(step + SLICE_STEPS, until)):
                        if now > begun and stop():
                            break  # steps of a large network take seconds each
                        if recovery.quantization_aware and now >= AWARE_FROM * total:
                            fake.switch_on()
                        if ramp is not None and ramp.changes_at(now):
                            student = replace(student, masks=ramp.masks(module, now))
                            student.hold_masks()
                        for settings in optimizer.param_groups:
                            settings["lr"] = recovery.peak_rate * learning_rate_factor(now, total)
                        loss = self._step(student, module, optimizer, recovery, kept, batches, now)
                        step = now + 1
                if not math.isfinite(loss):
                    raise TrialFailed(
                        f"the training loss became {loss} at step {step} of {total} "
                        f"(learning rate {recovery.peak_rate:g})"
                    )
        finally:
            fake.switch_off()
            module.eval()
        _save(checkpoint, module, optimizer if step < total else None, fake, step, student.masks if ramp else None)
        return fake

    def _step(
        self,
        student: Student,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        recovery: Recovery,
        kept: Sequence[int] | None,
        batches: _Batches,
        step: int,
    ) -> float:
        epoch, index, inputs, labels = batches.at(step)
        lesson = self.lessons.lesson(epoch, index, inputs, self.data.cacheable, self.schedule.seed)
        inputs, labels = to_training_layout(inputs, self.device), labels.to(self.device)
        tapped = FeatureTap(module, self.lessons.last_layer)
        attention = attention_context(self.device, 0 if self.losses.precise else self.longest_sequence)
        with autocast_context(self.device, self.losses.precise), attention, tapped as tap:
            outputs = call(module, inputs)
        loss = distillation_loss(recovery, outputs, labels, lesson, tap.features, kept, self.losses)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(module.parameters(), CLIP_NORM)
        optimizer.step()
        student.hold_masks()
        return float(loss.detach())


def learning_rate_factor(step: int, total: int) -> float:
    """Return the share of the peak learning rate at a step.

    It is a short linear warm-up, then half a cosine to zero (Loshchilov and Hutter 2017, arXiv:1608.03983).

    Args:
        step: Number of the step, from 0.
        total: Number of all steps.
    """
    warm = max(1, round(WARMUP * total))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))


class _Batches:
    """The batches of a training by step, over the ends of epochs."""

    def __init__(self, data: TrainingData, schedule: Schedule) -> None:
        self._data, self._schedule = data, schedule
        self._steps = data.epoch_plan(0, schedule.batch_size, schedule.seed).steps
        self._epoch, self._first = -1, 0

    def at(self, step: int) -> tuple[int, int, Inputs, Tensor]:
        """Return (epoch, index within it, inputs [B, ...] each, labels [B, ...])."""
        epoch, index = divmod(step, self._steps)
        if epoch != self._epoch:
            seed = self._schedule.seed
            if index and not self._data.cacheable:
                # a stream has no random access: a training that goes on within an epoch takes another order, or it
                # would see the first part of this one twice and the rest never
                seed += 1000 * index
            self._plan = self._data.epoch_plan(epoch, self._schedule.batch_size, seed)
            self._epoch, self._first = epoch, index
        inputs, labels = self._plan.batch(index if self._data.cacheable else index - self._first)
        return epoch, index, inputs, labels


def _optimizer(recovery: Recovery, parameters: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """Return what trains these sets of parameters; the schedule sets its learning rate."""
    if recovery.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr=0.0)
    return torch.optim.SGD(parameters, lr=0.0, momentum=MOMENTUM, nesterov=True)


def _parameter_sets(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return the parameters for an optimizer, with no decay on biases and normalisation scales."""
    decayed = [p for p in module.parameters() if p.ndim > 1]
    plain = [p for p in module.parameters() if p.ndim <= 1]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]


def _save(
    path: Path,
    module: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    fake: FakeQuantizer,
    step: int,
    masks: Mapping[str, Tensor] | None,
) -> None:
    # a finished training needs neither momentum, which is half of the file, nor masks, which are in its weights
    momentum = optimizer.state_dict() if optimizer else None
    state = {"module": module.state_dict(), "optimizer": momentum, "ranges": fake.ranges, "step": step}
    if masks is not None and optimizer is not None:
        state["masks"] = {name: mask.bool() for name, mask in masks.items()}
    buffer = io.BytesIO()  # torch's own writer says nothing useful when a disk is full
    torch.save(state, buffer)
    write_bytes(path, buffer.getvalue())


def _load(
    path: Path, module: nn.Module, optimizer: torch.optim.Optimizer, fake: FakeQuantizer
) -> tuple[int, dict[str, Tensor]]:
    """Go on from a checkpoint, and return its step and the masks that it holds of zeros that come little by little."""
    state = read_checkpoint(path)
    if state is None:
        return 0, {}
    module.load_state_dict(state["module"])
    if state["optimizer"] is not None:
        optimizer.load_state_dict(state["optimizer"])
    fake.ranges.update(state["ranges"])
    return int(state["step"]), state.get("masks", {})
