"""Crossover: a plan made of parts of two."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from ..plan import Plan
from ..sites import Sites

CUT_SHARE = 0.5
"""Part of the crossovers that cut along the depth; the others draw each site alone."""


@dataclass(frozen=True)
class Crossover:
    """Draws plans between plans of one space."""

    sites: Sites

    def cross(self, a: Plan, b: Plan, random_: random.Random) -> Plan:
        """A legal plan that chooses as `a` or as `b` at each site: as one of them before some depth and as the other
        after it, or either at each site by chance. It has the target of `a`, and the recovery of one of them that has
        one. What the target cannot run so (one float precision for all layers) is settled as it does for any plan."""
        depths = sorted({site.depth for site in self.sites})
        mine, yours = self.sites.choices(a), self.sites.choices(b)
        if random_.random() < CUT_SHARE and len(depths) > 1:
            first = random_.random() < 0.5
            cut = random_.choice(depths[1:])
            from_a = [(site.depth < cut) == first for site in self.sites]
        else:
            from_a = [random_.random() < 0.5 for _ in self.sites]
        choices = [x if own else y for own, x, y in zip(from_a, mine, yours, strict=True)]
        taught = [plan.recovery for plan in (a, b) if plan.recovery is not None]
        recovery = random_.choice(taught) if taught else None
        return self.sites.assemble(choices, replace(a, recovery=recovery))
