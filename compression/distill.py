"""What a student is taught with: the teacher's outputs, computed once, and the loss that uses them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..spaces.inputs import Inputs, call
from ..spaces.spec import Recovery
from .losses import CLASSIFICATION, Losses
from .precision import autocast_context, to_training_layout

LIMIT_BYTES = 2 * 2**30
"""The most that is kept of answers in memory. Beyond it the teacher is asked again."""


@dataclass(frozen=True)
class Lesson:
    """What the teacher says of one batch.

    Attributes:
        outputs: [B, ...].
        features: The inputs of its last layer, [B, ..., D].
    """

    outputs: Tensor
    features: Tensor


@dataclass
class Lessons:
    """The teacher's answers by (seed, epoch, step), kept in memory where the data says that batches repeat exactly.

    The teacher runs once for each batch of the epoch plan, not once for each trial.

    Attributes:
        teacher: The trained network, on `device`.
        last_layer: Name of the linear layer whose inputs are the features; None when there is none.
        device: Where it runs.
        precise: Whether its answers are measured numbers; they are then computed and kept in float32.
    """

    teacher: nn.Module
    last_layer: str | None
    device: torch.device
    precise: bool = False
    _kept: dict[tuple[int, int, int], Lesson] = field(default_factory=dict)

    def lesson(self, epoch: int, step: int, inputs: Inputs, keep: bool, seed: int = 0) -> Lesson:
        """Return the teacher's answer to one batch.

        Args:
            epoch: Number of the epoch.
            step: Number of the batch within it.
            inputs: The batch, [B, ...] each.
            keep: Whether (seed, epoch, step) always gives this batch, so that the answer may be kept.
            seed: Of the order of the batches.
        """
        place = seed, epoch, step
        if keep and place in self._kept:
            return self._kept[place]
        with (
            torch.no_grad(),
            autocast_context(self.device, self.precise),
            FeatureTap(self.teacher, self.last_layer) as tap,
        ):
            outputs = call(self.teacher, to_training_layout(inputs, self.device))
        # half the memory; distillation of logits does not see the difference
        kept = torch.float32 if self.precise else torch.bfloat16
        lesson = Lesson(outputs.detach().to(kept), tap.features.detach().to(torch.bfloat16))
        size = (lesson.outputs.nbytes + lesson.features.nbytes) * (len(self._kept) + 1)
        if keep and size <= LIMIT_BYTES:
            self._kept[place] = lesson
        return lesson


class FeatureTap:
    """A context that catches the inputs of one layer.

    Attributes:
        features: The latest inputs of the layer, [B, ..., D]; empty before it ran.
    """

    def __init__(self, module: nn.Module, layer: str | None) -> None:
        """Prepare for a layer of `module`; None catches nothing."""
        self.features = torch.empty(0)
        self._module = module.get_submodule(layer) if layer else None

    def __enter__(self) -> FeatureTap:
        if self._module is not None:
            self._handle = self._module.register_forward_pre_hook(self._catch)
        return self

    def __exit__(self, *_: object) -> None:
        if self._module is not None:
            self._handle.remove()

    def _catch(self, _module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.features = inputs[0]


def distillation_loss(
    recovery: Recovery,
    outputs: Tensor,
    labels: Tensor,
    lesson: Lesson,
    features: Tensor,
    kept_features: Sequence[int] | None,
    losses: Losses = CLASSIFICATION,
) -> Tensor:
    """Return the loss that a student is taught by.

    It is alpha * (divergence from the teacher) + (1 - alpha) * (loss against the labels) + feature_weight * (distance
    of features). For a classifier the divergence is T^2 KL(teacher / T || student / T), and the loss cross-entropy. The
    distance is the mean square error over the teacher's mean square, so that it has no unit. After Hinton et al. 2015
    (arXiv:1503.02531, section 2) and Romero et al. 2015 (arXiv:1412.6550), without an adapter, as the student's
    channels are some of the teacher's.

    Args:
        recovery: T, alpha and feature_weight.
        outputs: The student's, [B, ...].
        labels: [B, ...].
        lesson: The teacher's outputs [B, ...] and features [B, ..., D].
        features: The student's, [B, ..., D'].
        kept_features: Which of the teacher's D features the student still has; None for all.
        losses: Of the task.
    """
    outputs = outputs.float()
    loss = outputs.new_zeros(())
    if recovery.alpha < 1:
        loss = loss + (1 - recovery.alpha) * losses.hard(outputs, labels)
    if recovery.alpha > 0:
        apart = losses.divergence(outputs, lesson.outputs.float(), labels, recovery.temperature)
        loss = loss + recovery.alpha * apart
    if recovery.feature_weight > 0 and features.numel():
        wanted = lesson.features.float()
        if kept_features is not None:
            wanted = wanted[..., list(kept_features)]
        if wanted.shape == features.shape:
            distance = F.mse_loss(features.float(), wanted) / wanted.square().mean().clamp_min(1e-8)
            loss = loss + recovery.feature_weight * distance
    return loss
