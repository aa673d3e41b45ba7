"""What a student is taught by: a loss against the labels, and a divergence from the teacher."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Divergence = Callable[[Tensor, Tensor, float], Tensor]
"""(student's outputs [B, ...], teacher's outputs [B, ...], temperature) -> one number for each example, [B]."""


@dataclass(frozen=True)
class Losses:
    """The two losses of a task.

    Attributes:
        hard: Maps outputs [B, ...] and labels [B, ...] to the mean loss of the batch, a tensor of one number.
        soft: How far a student's outputs are from the teacher's, 0 where they agree; see `Divergence`. Where the
            outputs are logits, a temperature above 1 softens both (Hinton et al. 2015, arXiv:1503.02531, section 2).
        precise: Whether outputs are measured numbers, for which the steps of bfloat16 are too coarse.
        counted: Maps outputs [B, ...] and labels [B, ...] to a mask of the positions that count, of as many dimensions
            as the outputs and broadcastable to them; None counts all. What was only filled up teaches nothing.
    """

    hard: Callable[[Tensor, Tensor], Tensor]
    soft: Divergence
    precise: bool = False
    counted: Callable[[Tensor, Tensor], Tensor] | None = None

    def divergence(self, student: Tensor, teacher: Tensor, labels: Tensor, temperature: float) -> Tensor:
        """Return how far a batch of outputs is from the teacher's on average, over the positions that count.

        Args:
            student: Outputs [B, ...].
            teacher: Of the same shape.
            labels: [B, ...].
            temperature: See `Divergence`.
        """
        if self.counted is None:
            return self.soft(student, teacher, temperature).mean()
        counts = self.counted(student, labels)
        same = torch.where(counts, teacher, student.detach())  # which is no distance, where nothing counts
        share = counts.float().mean().clamp_min(1 / counts.numel())
        return self.soft(student, same, temperature).mean() / share


def categorical_divergence(student: Tensor, teacher: Tensor, temperature: float, dim: int = 1) -> Tensor:
    """Return T^2 KL(teacher / T || student / T) for each example, in nats, averaged over its positions.

    Args:
        student: Logits [B, K] or, with more positions, such as [B, K, H, W].
        teacher: Of the same shape.
        temperature: T.
        dim: Where the K classes lie.
    """
    answers = F.log_softmax(student / temperature, dim=dim)
    wanted = F.log_softmax(teacher / temperature, dim=dim)
    each = F.kl_div(answers, wanted, reduction="none", log_target=True).sum(dim)
    return temperature**2 * each.flatten(1).mean(1) if each.ndim > 1 else temperature**2 * each


def bernoulli_divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return T^2 KL of yes-or-no answers for each example, in nats, averaged over its outputs.

    Args:
        student: Logits [B, ...] of yes.
        teacher: Of the same shape.
        temperature: T.
    """
    s, t = student / temperature, teacher / temperature
    yes = t.sigmoid()
    each = yes * (F.logsigmoid(t) - F.logsigmoid(s)) + (1 - yes) * (F.logsigmoid(-t) - F.logsigmoid(-s))
    return temperature**2 * (each.flatten(1).mean(1) if each.ndim > 1 else each)


def squared_distance(student: Tensor, teacher: Tensor, scale: float = 1.0) -> Tensor:
    """Return the mean squared difference of each example's outputs, over `scale`.

    Args:
        student: Outputs [B, ...].
        teacher: Of the same shape.
        scale: What counts as 1, such as the variance of the labels.
    """
    each = (student - teacher).square() / scale
    return each.flatten(1).mean(1) if each.ndim > 1 else each


CLASSIFICATION = Losses(F.cross_entropy, categorical_divergence)
"""Of a classifier with outputs [B, K]; labels are class numbers [B], or shares [B, K]."""
