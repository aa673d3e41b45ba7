"""Weights that stand still, kept as integers: a quarter of their memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

TOP = 127
"""The largest code; the grid is symmetric."""


@dataclass(frozen=True)
class CodedWeight:
    """A weight [out, in, ...] on the symmetric grid of 8 bits, with one scale for each output channel.

    Attributes:
        codes: In the shape of the weight, int8.
        scale: [out, 1, ...], in the weight's own precision.
    """

    codes: Tensor
    scale: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, weight: Tensor) -> CodedWeight:
        """Return the nearest weight on the grid."""
        largest = weight.abs().amax(dim=tuple(range(1, weight.ndim)), keepdim=True)
        scale = (largest / TOP).clamp_min(1e-12)
        return cls((weight / scale).round().to(torch.int8), scale)

    def decoded(self) -> Tensor:
        """Return the weight as numbers."""
        return self.codes * self.scale
