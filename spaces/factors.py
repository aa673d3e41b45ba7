"""Factors: two small layers in the place of one, whose product is as near to its weight as their size allows."""

from __future__ import annotations

import math
from dataclasses import dataclass

RANK, SEPARABLE = "rank", "separable"


@dataclass(frozen=True)
class Factor:
    """What becomes of one layer. In a student its name is that of both parts, which are called "<name>.0" and ".1".

    Attributes:
        kind: "rank" (of a linear layer, or a convolution over one position: one layer of this kind down to `rank`
            channels, and one up again) or "separable" (of a convolution: one of each input channel by itself, then one
            over one position).
        rank: Channels between the two parts; as many as the layer allows if 0, or if it allows fewer. It says nothing
            of a separable convolution, which has as many as inputs.
    """

    kind: str
    rank: int = 0

    def between(self, inputs: int, outputs: int) -> int:
        """Return the channels between the two parts of a layer with so many inputs and outputs."""
        if self.kind == SEPARABLE:
            return inputs
        most = min(inputs, outputs)
        return min(self.rank, most) if self.rank else most

    def part(self, shape: tuple[int, ...]) -> float:
        """Return the weights of both parts over those of the layer, whose weight has this shape, [out, in, ...]."""
        outputs, inputs, *kernel = shape
        positions = math.prod(kernel)
        if self.kind == SEPARABLE:
            return (positions + outputs) / (outputs * positions)
        return self.between(inputs, outputs) * (inputs + outputs) / (inputs * outputs * positions)


def names_of_parts(layer: str) -> tuple[str, str]:
    """Return what the two parts of a layer are called in a student."""
    return f"{layer}.0", f"{layer}.1"
