"""Recovery: a shrunk student learns from the teacher, rung by rung, and can stop and go on at any rung."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from ..errors import TrialFailed
from ..spaces.spec import Recovery, StudentSpec
from ..spaces.target import INT8_TOP
from .aids import StudentAids
from .attention import attention_context
from .distill import FeatureTap, Lessons, distillation_loss
from .fake_quant import FakeQuantizer
from .gradual import Ramp
from .layer_forward import own_weight
from .learned_steps import LearnedSteps
from .losses import CLASSIFICATION, Losses
from .memory import StepMeter
from .norms import reestimate_norms_over
from .optimizers import descend, make_optimizer, make_scaler
from .precision import autocast_context, module_to_training_layout, to_training_layout
from .recovered import read_checkpoint, write_checkpoint
from .schedule import Batches, Schedule, learning_rate_factor
from .student import Student
from .training_data import TrainingData
from .tuning import Tuning

SLICE_STEPS = 5
"""Steps between looks at the clock of others: whether to stop, and whether a latency is being measured."""
AWARE_FROM = 0.5
"""Fake quantization sets in after this part of the training. Weights settle first, then the grid."""
NORM_INPUTS = 512
"""So many training inputs settle the norms of a network whose weights stand still, where there are as many."""


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
        head: Name of the layer that answers, which is trained in every way; without it that of the lessons.
        weight_top: Largest code of weights that targets multiply in 8 bits, which fake quantization has too.
    """

    data: TrainingData
    lessons: Lessons
    schedule: Schedule
    device: torch.device
    quiet: Callable[[], AbstractContextManager[Any]]
    losses: Losses = CLASSIFICATION
    longest_sequence: int = 0
    head: str | None = None
    weight_top: int = INT8_TOP

    def with_seed(self, seed: int) -> Recoverer:
        """Return what trains with this seed in place of the schedule's own."""
        return replace(self, schedule=replace(self.schedule, seed=seed))

    def recover(
        self,
        student: Student,
        spec: StudentSpec,
        rung: int,
        checkpoint: Path,
        stop: Callable[[], bool],
        meter: StepMeter | None = None,
    ) -> FakeQuantizer:
        """Train a student up to the end of a rung, from its checkpoint if there is one, and write that anew.

        Args:
            student: Trained in place, made by `make_student` of the same specification, or of what it begins with
                where zeros come little by little (`gradual.begins_with`).
            spec: Its specification, with a recovery.
            rung: Number of the rung, from 0.
            checkpoint: The file. Once the training is finished it holds the student alone, whatever was trained of it.
            stop: Whether to end early, asked before every step.
            meter: Watches the memory of the first step, and of the first one with fake quantization.

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
        state = read_checkpoint(checkpoint)
        step = 0
        if state is not None:
            module.load_state_dict(state["module"])
            step = int(state["step"])
        # what a finished training wrote has its updates within the weights
        way = recovery if step < total else replace(recovery, tune=Recovery.tune)
        head = None if spec.student else self.head or self.lessons.last_layer  # that of another network is its own
        tuning = Tuning(student, way, head, self.schedule.seed)
        optimizer = make_optimizer(recovery, tuning.trained, self.schedule.weight_decay)
        # what a finished training wrote is cut at its learned ends
        bits, ways = spec.realised(spec.bits), spec.realised(spec.activations)
        steps = LearnedSteps(tuning.standing(bits)) if recovery.learned_steps and step < total else None
        weight_of = tuning.weight if tuning.adapts else own_weight
        fake = FakeQuantizer(module, bits, weight_of, steps, ways, self.weight_top)
        scaler = make_scaler(self.device, self.losses.precise)
        # on the device already: taps share the buffers
        aids = StudentAids(recovery, module, self.lessons.places if recovery.aids else None)
        ramp = Ramp.of(spec, total)
        if state is not None:
            fake.ranges.update(state["ranges"])
            tuning.load(state.get("updates", {}))
            aids.projections.load(state.get("projections", {}))
            if steps is not None:
                steps.load(state.get("steps", {}))
            if ramp is not None:
                tuning.take_masks(state.get("masks", {}))
            if state["optimizer"] is not None:
                optimizer.load_state_dict(state["optimizer"])
            if state.get("scaler"):
                scaler.load_state_dict(state["scaler"])

        def save() -> None:
            going_on: dict[str, Any] = {"optimizer": optimizer.state_dict(), "updates": tuning.state()}
            going_on["recovery"] = recovery.parts()
            going_on |= {"scaler": scaler.state_dict(), "projections": aids.projections.state()}
            if steps is not None:
                going_on["steps"] = steps.state()
            if ramp is not None:
                going_on["masks"] = {name: mask.bool() for name, mask in tuning.masks.items()}
            # a finished training needs neither momentum, which is half of the file, nor masks, which are in its weights
            parts = going_on if step < total else {"optimizer": None}
            write_checkpoint(checkpoint, tuning.plain_state(), step, ranges=fake.ranges, **parts)

        if tuning.body_stands and step == 0:
            self._settle_norms(module)
        tuning.train_mode()
        torch.manual_seed(self.schedule.seed + step)  # for networks with dropout
        kept = student.stayed_inputs.get(self.lessons.last_layer or "")
        watched = [step, max(step, math.ceil(AWARE_FROM * total))]
        try:
            work = _Work(recovery, kept, Batches(self.data, self.schedule), tuning, scaler, aids, steps, total)
            while step < until:
                if stop():
                    save()
                    raise Stopped
                begun = step
                with self.quiet():
                    for now in range(step, min(step + SLICE_STEPS, until)):
                        if now > begun and stop():
                            break  # steps of a large network take seconds each
                        if recovery.quantization_aware and now >= AWARE_FROM * total:
                            fake.switch_on()
                        if ramp is not None and ramp.changes_at(now):
                            tuning.take_masks(ramp.masks(module, now))
                            tuning.hold_masks()
                        for settings in optimizer.param_groups:
                            settings["lr"] = recovery.peak_rate * learning_rate_factor(now, total)
                        watch = meter is not None and now in watched
                        with (
                            meter.watching(tuning.held, tuning.trained, optimizer) if meter and watch else nullcontext()
                        ):
                            loss = self._step(student, module, optimizer, work, now)
                        step = now + 1
                if not math.isfinite(loss):
                    raise TrialFailed(
                        f"the training loss became {loss} at step {step} of {total} "
                        f"(learning rate {recovery.peak_rate:g})"
                    )
        finally:
            fake.switch_off()
            module.eval()
        if step >= total:
            _come_to_rest(tuning, steps, module)
        save()
        _come_to_rest(tuning, steps, module)  # whoever looks at it after an earlier rung sees what it would be
        return fake

    def _step(
        self, student: Student, module: nn.Module, optimizer: torch.optim.Optimizer, work: _Work, step: int
    ) -> float:
        epoch, index, inputs, labels = work.batches.at(step)
        lesson = self.lessons.lesson(epoch, index, inputs, self.data.cacheable, self.schedule.seed, work.recovery.aids)
        inputs, labels = to_training_layout(inputs, self.device), labels.to(self.device)
        tapped = FeatureTap(module, self.lessons.last_layer)
        attention = attention_context(self.device, 0 if self.losses.precise else self.longest_sequence)
        with autocast_context(self.device, self.losses.precise, scaled=True), attention, tapped as tap:
            outputs = work.aids.run(inputs)
        loss = distillation_loss(work.recovery, outputs, labels, lesson, tap.features, work.kept, self.losses)
        loss = work.aids.added_to(loss, lesson.shown, tap.features)
        rate = learning_rate_factor(step, work.total)
        beside = (*work.aids.projections.optimizers(rate), *(work.steps.optimizers(rate) if work.steps else ()))
        descend(loss, optimizer, work.scaler, work.tuning.trained, beside)
        work.tuning.hold_masks()
        return float(loss.detach())

    def _settle_norms(self, module: nn.Module) -> None:
        """Give norms the statistics of a network that was shrunk, and whose weights do not follow."""
        plan = self.data.epoch_plan(0, self.schedule.batch_size, self.schedule.seed)
        count = min(plan.steps, math.ceil(NORM_INPUTS / self.schedule.batch_size))
        with self.quiet():
            reestimate_norms_over(module, (plan.batch(step)[0] for step in range(count)))


class _Work(NamedTuple):
    """What the steps of one training have in common."""

    recovery: Recovery
    kept: Sequence[int] | None
    batches: Batches
    tuning: Tuning
    scaler: torch.amp.GradScaler
    aids: StudentAids
    steps: LearnedSteps | None
    total: int


def _come_to_rest(tuning: Tuning, steps: LearnedSteps | None, module: nn.Module) -> None:
    """Put all that was learned beside the weights into them."""
    tuning.merge()
    if steps is not None:
        steps.cut(module)
