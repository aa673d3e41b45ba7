"""What every study begins with: what a user would do by hand, and the integer program's plans for several budgets, in
turn, so that a short search has both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product, zip_longest

from ...spaces.axes.base import Value
from ...spaces.space import Space
from ..trial import SEED
from .by_hand import Baseline, at_home, baselines, offered_bits, seeds, uniform_latent
from .shares import ShareEncoding

BUDGET_SHARES = (0.95, 0.45, 0.75, 0.2, 0.85, 0.3, 0.6)
"""Budgets that the program's plans are for, as parts of the largest one; the first few span the front."""
SEEDS_AT_ONCE = 2
"""So many of them come before each plan that is made by hand: they are more of a front."""
FINER_WIDTHS = (0.9, 0.35, 0.6, 0.15)
"""Uniform widths between those of `baselines.LADDER`."""


def opening(space: Space, shares: ShareEncoding | None, tops_ms: Mapping[str, float]) -> list[Baseline]:
    """The plans in their order. shares: the integer program, where there is a guide for it. tops_ms: the largest budget
    of the program's plans for each target that plans choose from; for "" where they do not."""
    by_hand = [*baselines(space), *seeds(space)]
    known = {b.plan.key() for b in by_hand}  # in a small space the program may find the very same
    found = finer(space) if shares is None else solved(space, shares, tops_ms)
    ours = [b for b in found if b.plan.key() not in known]
    untrained = [b for b in by_hand if b.plan.recovery is None]
    trained = [b for b in by_hand if b.plan.recovery is not None]
    rounds = zip_longest((ours[i : i + SEEDS_AT_ONCE] for i in range(0, len(ours), SEEDS_AT_ONCE)), trained)
    return [*untrained, *(b for some, one in rounds for b in (*(some or ()), one) if b is not None)]


def finer(space: Space) -> Iterator[Baseline]:
    """Uniform widths between those made by hand, for where there is no guide: without one they are hard to beat."""
    if any(axis.name == "width" and axis.parameters() for axis in space.axes):
        bits = 8 if 8 in offered_bits(space) else 32
        for width in FINER_WIDTHS:
            plan = space.uniform(width, bits, space.default_recovery)
            yield from at_home(space, Baseline(SEED, plan, uniform_latent(space, width, bits)))


def solved(space: Space, shares: ShareEncoding, tops_ms: Mapping[str, float]) -> Iterator[Baseline]:
    """The plans of least damage for several budgets, with the default recovery."""
    latent = shares.latent()
    drawn = uniform_latent(space, 1.0, min(offered_bits(space)), space.default_recovery) or {}
    rest: dict[str, Value] = {name: value for name, value in drawn.items() if name in latent}
    for part, (home, top_ms) in product(BUDGET_SHARES, tops_ms.items()):
        numbers = shares.neutral(part * top_ms, rest | ({"target": home} if home else {}))
        yield Baseline(SEED, shares.decode(numbers), numbers)
