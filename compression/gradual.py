"""Gradual pruning: the zeros of a pattern come little by little while a student is taught."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ..spaces.spec import Pattern, StudentSpec
from .masks import mask_of

RAMP_END = 0.6
"""Part of a training after which all zeros are there: the rest of it recovers what the last of them cost."""
EVERY = 5
"""Steps between two choices of the weights that are zero. They are counted from the start of the training, so that one
that was stopped goes on as if it had not been."""


@dataclass(frozen=True)
class Ramp:
    """The zeros of a student's patterns over its training.

    The part of the final zeros rises as 1 - (1 - t)^3 (Zhu and Gupta 2017, arXiv:1710.01878, section 3): fast at first,
    where most weights do not matter, and slowly at the end.

    Attributes:
        patterns: Name of a layer of the student -> pattern that it ends with.
        end: The step at which they are complete.
    """

    patterns: Mapping[str, Pattern]
    end: int

    @classmethod
    def of(cls, spec: StudentSpec, total: int) -> Ramp | None:
        """Return the ramp of a student; None where its zeros are there from the start.

        Args:
            spec: Its specification.
            total: Steps of its whole training.
        """
        if spec.recovery is None or not spec.recovery.ramp or not spec.patterns:
            return None
        return cls(spec.realised(spec.patterns), int(RAMP_END * total))

    def changes_at(self, step: int) -> bool:
        """Tell whether masks are made anew before this step, counted from 0."""
        return step == self.end or (step < self.end and step % EVERY == 0)

    def share(self, step: int) -> float:
        """Return the part of the final zeros that is there at a step, 0 to 1."""
        return 1.0 if step >= self.end else 1.0 - (1.0 - step / self.end) ** 3

    @torch.no_grad()
    def masks(self, module: nn.Module, step: int) -> dict[str, Tensor]:
        """Return layer name -> its mask at a step; 1 keeps, 0 drops.

        Args:
            module: The student as it is at this step.
            step: From 0.
        """
        share = self.share(step)
        return {
            name: partial_mask(module.get_parameter(f"{name}.weight").detach(), pattern, share)
            for name, pattern in self.patterns.items()
        }


def partial_mask(weight: Tensor, pattern: Pattern, share: float) -> Tensor:
    """Return the mask of a pattern of which only a part of the zeros is there, the smallest magnitudes first.

    Args:
        weight: [out, in, ...].
        pattern: The whole pattern.
        share: Part of its zeros, 0 to 1.

    Returns:
        A tensor of the weight's shape and dtype; 1 keeps, 0 drops.
    """
    if pattern.kind != "2:4":
        return mask_of(weight, replace(pattern, rate=pattern.rate * share))
    mask = mask_of(weight, pattern).flatten()
    dropped = (mask == 0).nonzero().flatten()
    order = weight.abs().flatten()[dropped].argsort(stable=True)
    mask[dropped[order[int(share * len(dropped)) :]]] = 1
    return mask.view(weight.shape)


def begins_with(spec: StudentSpec) -> StudentSpec:
    """Return what a student's training begins with: without zeros, where these come little by little."""
    gradual = spec.recovery is not None and spec.recovery.ramp
    return replace(spec, patterns={}) if gradual else spec
