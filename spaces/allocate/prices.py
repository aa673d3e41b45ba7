"""Prices: which variables pay for a latency budget, beyond what their measured sensitivity says."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..variables import Variable

FEW = 4
"""Variables with at most so many options are not bent: their options are too different to pay a little."""


@dataclass(frozen=True)
class Prices:
    """Factors on the harm of options. All zero leave harm as it was measured.

    Attributes:
        slope: Harm counts exp(slope * t + curve * (t^2 - 1/3)) times at depth d, where t = 2 d - 1.
        curve: See `slope`.
        axes: Axis -> exponent for its variables.
        inner: Exponent for variables whose channels no residual stream holds, of axes that have both sorts.
        spread: Harm is raised to the power exp(spread) of itself relative to the variable's largest. Above 0 the first
            options cost less and the last ones more, so that many variables pay a little.
    """

    slope: float = 0.0
    curve: float = 0.0
    axes: Mapping[str, float] = field(default_factory=dict)
    inner: float = 0.0
    spread: float = 0.0

    def __hash__(self) -> int:
        return hash((self.slope, self.curve, tuple(sorted(self.axes.items())), self.inner, self.spread))

    def tilted(self, variable: Variable, harm: Sequence[float], has_streams: bool) -> tuple[float, ...]:
        """Return the harm of the options of a variable at these prices.

        Args:
            variable: The variable.
            harm: What each option does (nats).
            has_streams: Whether some variable of the same axis lies in a residual stream.
        """
        t = 2 * variable.depth - 1
        exponent = self.slope * t + self.curve * (t * t - 1 / 3) + self.axes.get(variable.axis, 0.0)
        exponent += self.inner if has_streams and not variable.in_stream else 0.0
        weight, most = math.exp(exponent), max(harm)
        if most <= 0 or not self.spread or len(variable.options) <= FEW:
            return tuple(weight * x for x in harm)
        power = math.exp(self.spread)
        return tuple(weight * most * (max(0.0, x) / most) ** power for x in harm)
