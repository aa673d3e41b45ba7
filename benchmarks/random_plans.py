"""Plans drawn as a search draws its first ones: a profile along the depth, its numbers evenly over their ranges."""

from __future__ import annotations

import random

from autocompress.search.propose.profile import ProfileEncoding
from autocompress.spaces.plan import Plan
from autocompress.spaces.space import Space
from autocompress.spaces.variables import Number


def random_plan(encoding: ProfileEncoding, random_: random.Random) -> Plan:
    """Return the plan of numbers drawn at random."""
    latent = {
        name: random_.uniform(p.low, p.high) if isinstance(p, Number) else random_.choice(p.options)
        for name, p in encoding.latent().items()
    }
    return encoding.decode(latent)


def changed_plan(space: Space, plan: Plan, random_: random.Random) -> Plan:
    """Return a legal plan in which one decision about the network is another than in `plan`."""
    found = plan
    while found == plan:
        variable = random_.choice([v for v in space.network if v.is_searched])
        found = space.repair(plan.changed({variable.name: random_.choice(variable.drawn)}))
    return found
