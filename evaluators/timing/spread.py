"""How much the same thing differs from one process, or from one moment, to the next. Nothing here imports numpy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

# Standard deviation of log(time of a file / time of the same file) between processes with huge pages: 0.9 % to 3.8 %
# for three networks in 24 sessions each. What is taken for granted stands near the upper end of that, and weighs as
# much as so many degrees of freedom, so that a few processes of the study's own network outweigh it.
PRIOR_SD = 0.03
PRIOR_FREEDOM = 3

_NORMAL_95 = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class Spread:
    """A variance of logarithms, pooled from what was seen.

    Attributes:
        squares: Sum of squared deviations.
        freedom: Degrees of freedom in it; 0 where nothing was seen.
    """

    squares: float = 0.0
    freedom: float = 0.0

    @classmethod
    def between(cls, logs: Sequence[float], truth: float | None = None) -> Spread:
        """Return the spread of logarithms about their mean, or about the truth where that is known."""
        if truth is not None:
            return cls(sum((log - truth) ** 2 for log in logs), len(logs))
        mean = sum(logs) / max(1, len(logs))
        return cls(sum((log - mean) ** 2 for log in logs), max(0, len(logs) - 1))

    def __add__(self, other: Spread) -> Spread:
        return Spread(self.squares + other.squares, self.freedom + other.freedom)

    def sd(self, prior_sd: float = PRIOR_SD) -> float:
        """Return the standard deviation, moderated by what is taken for granted."""
        return math.sqrt((PRIOR_FREEDOM * prior_sd**2 + self.squares) / (PRIOR_FREEDOM + self.freedom))

    def half_width(self, prior_sd: float = PRIOR_SD) -> float:
        """Return half of the 95 % interval of one logarithm that is drawn with this spread."""
        return student_t_95(PRIOR_FREEDOM + self.freedom) * self.sd(prior_sd)

    def capped(self, freedom: float) -> Spread:
        """Return the same variance, known by no more than so many degrees of freedom, so that later ones count."""
        if self.freedom <= freedom:
            return self
        return Spread(self.squares * freedom / self.freedom, freedom)


def student_t_95(freedom: float) -> float:
    """Return the 97.5 % point of Student's t, within 1 % from 3 degrees of freedom on.

    The series is that of Abramowitz and Stegun, 26.7.5.
    """
    z = _NORMAL_95
    return (
        z
        + (z**3 + z) / (4 * freedom)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    )
