"""Prices: which sites pay for a latency budget, beyond what their measured damage says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..sites import Site


@dataclass(frozen=True)
class Prices:
    """Numbers that tilt damage. All zero leave it as measured.

    slope, curve: damage counts exp(slope * t + curve * (t^2 - 1/3)) times at depth d, t = 2 d - 1. bits, inner,
    pattern: exponents for bits against channels, for groups inside blocks against residual streams, for patterns.
    spread: damage is raised to the power exp(spread) of itself relative to the site's largest: above 0 the first
    channels cost less and the last ones more, so that many sites pay a little.
    """

    slope: float = 0.0
    curve: float = 0.0
    bits: float = 0.0
    inner: float = 0.0
    pattern: float = 0.0
    spread: float = 0.0

    def tilted(self, site: Site, damage: Sequence[float]) -> tuple[float, ...]:
        """`damage` of the options of this site, at these prices."""
        t = 2 * site.depth - 1
        exponent = self.slope * t + self.curve * (t * t - 1 / 3)
        exponent += {"bits": self.bits, "pattern": self.pattern}.get(site.kind, 0.0)
        exponent += self.inner if site.kind == "channels" and site.inner else 0.0
        weight, most = math.exp(exponent), max(damage)
        if most <= 0 or not self.spread or site.kind == "bits":
            return tuple(weight * x for x in damage)
        power = math.exp(self.spread)
        return tuple(weight * most * (max(0.0, x) / most) ** power for x in damage)
