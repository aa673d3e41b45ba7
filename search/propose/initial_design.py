"""The initial design: what a user would do by hand and the solver's plans for several budgets, in turn.

A short search has both that way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product, zip_longest

from ...spaces.axes.bits import FULL
from ...spaces.axes.recovery import AWARE
from ...spaces.axes.registry import SIZES
from ...spaces.plan import Plan
from ...spaces.space import Space
from ..trial import Origin
from .by_hand import Design, by_hand, on_targets
from .shares import ShareEncoding

BUDGET_SHARES = (0.95, 0.45, 0.75, 0.2, 0.85, 0.3, 0.6)
"""Budgets that the solver's plans are for, as parts of the largest one; the first few span the front."""
SOLVED_AT_ONCE = 2
"""So many of them come before each plan that is made by hand: they are more of a front."""
FINER_WIDTHS = (0.9, 0.35, 0.6, 0.15)
"""Uniform widths between those made by hand."""
GENTLE_RATE = 0.01
"""Learning rate for students that lose nothing but bits."""


def initial_design(
    space: Space,
    shares: ShareEncoding | None,
    starts: Mapping[str, tuple[Plan, float]],
    levels: Sequence[Plan] = (),
    usual: bool = True,
) -> list[Design]:
    """Return the plans in their order.

    Args:
        space: The space.
        shares: The solver's encoding, None where too little is known for it.
        starts: Target -> the plan of its teacher and the largest budget (ms) of the solver's plans there; one entry,
            named "", where plans do not choose a target.
        levels: Uniform designs that give each role a level of its own.
        usual: Whether what a user would do by hand is among them; else it is the teacher alone.
    """
    made = [design for design in by_hand(space) if usual or design.origin is Origin.TEACHER]
    hand = [*made, *whole_students(space)]
    known = {design.plan for design in hand}  # in a small space the solver may find the very same
    found = finer_widths(space) if shares is None else solved(shares, space, starts)
    mixed = [Design(plan, Origin.DESIGN, "initial design") for plan in levels]
    each = [d for pair in zip_longest(dict.fromkeys(found), mixed) for d in pair if d is not None]
    ours = [design for design in each if design.plan not in known]
    untrained = [d for d in hand if space.spec(d.plan).recovery is None]
    trained = [d for d in hand if space.spec(d.plan).recovery is not None]
    rounds = zip_longest((ours[i : i + SOLVED_AT_ONCE] for i in range(0, len(ours), SOLVED_AT_ONCE)), trained)
    return [*untrained, *(d for some, one in rounds for d in (*(some or ()), one) if d is not None)]


def whole_students(space: Space) -> Iterator[Design]:
    """Yield plans that only lose bits and are taught gently: worth a trial before any sampler knows better."""
    lowest = 8 if 8 in space.options("bits") else FULL
    gentle, aware = space.variable("recovery:learning_rate"), space.variable("recovery:quantization")
    rate = {gentle.name: GENTLE_RATE} if gentle is not None and gentle.is_searched else {}
    mode = {aware.name: AWARE} if aware is not None and aware.is_searched else {}
    like = space.taught.changed({**rate, **mode})
    yield from on_targets(space, Origin.SEARCH, "search", like, bits=lowest)
    if rate and lowest < FULL:
        yield from on_targets(space, Origin.SEARCH, "search", like)


def finer_widths(space: Space) -> Iterator[Design]:
    """Yield uniform widths between those made by hand: where nothing is known they are hard to beat."""
    if any(space.of(axis) for axis in SIZES):
        bits = 8 if 8 in space.options("bits") else FULL
        for width in FINER_WIDTHS:
            yield from on_targets(space, Origin.DESIGN, "initial design", space.taught, width, bits)


def solved(shares: ShareEncoding, space: Space, starts: Mapping[str, tuple[Plan, float]]) -> Iterator[Design]:
    """Yield the plans of least harm for several budgets, taught in the default way."""
    for part, (plan, top_ms) in product(BUDGET_SHARES, starts.values()):
        numbers = shares.neutral(part * top_ms, space.taught.changed(plan.choices))
        yield Design(shares.decode(numbers), Origin.DESIGN, "initial design", numbers)
