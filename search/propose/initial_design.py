"""The initial design: the solver's plans and designs that give each role a level, with what a user would do by hand.

A short search has all of them that way. They come in the order in which they are worth a trial.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest

from ...spaces.axes.bits import FULL
from ...spaces.axes.recovery import AWARE
from ...spaces.axes.registry import SIZES
from ...spaces.plan import Plan
from ...spaces.space import Space
from ..trial import Origin
from .by_hand import Design, by_hand, on_targets
from .compound import scaled_designs
from .factorial import in_other_bits
from .own_designs import own_students
from .shallower import shallower

OURS_AT_ONCE = 4
"""So many plans of ours come before each training of what is made by hand: they are more of a front."""
FINER_WIDTHS = (0.9, 0.35, 0.6, 0.15)
"""Uniform widths between those made by hand."""
GENTLE_PART = 0.5
"""Of the usual learning rate, what students take that lose nothing but bits."""


def initial_design(
    space: Space,
    solved: Iterable[Design] = (),
    levels: Sequence[Plan] = (),
    usual: bool = True,
    ranks: Mapping[str, float] | None = None,
) -> list[Design]:
    """Return the plans in their order.

    Args:
        space: The space.
        solved: The solver's plans; none where too little is known for them.
        levels: Uniform designs that give each role a level of its own. Each is followed by itself in other bits: these
            share its training.
        usual: Whether what a user would do by hand is among them; else it is the teacher alone.
        ranks: Variable name -> how sensitive it is beside others of its axis, where that is known; see `scaled`.
    """
    made = [design for design in by_hand(space) if usual or design.origin is Origin.TEACHER]
    hand = [*made, *whole_students(space), *own_students(space)]
    known = {design.plan for design in hand}  # in a small space the solver may find the very same
    found = list(dict.fromkeys(solved)) or list(finer_widths(space))
    mixed = [Design(plan, Origin.DESIGN, "initial design") for plan in levels]
    # two by levels for each of the solver's: where harm does not add up, they are the better ones
    rows = found, mixed[::2], mixed[1::2], list(shallower(space)), list(scaled_designs(space, ranks))
    each = [d for some in zip_longest(*rows) for d in some if d is not None]
    ours = [design for design in each if design.plan not in known]
    untrained = [d for d in hand if space.spec(d.plan).recovery is None]
    trained: dict[str, list[Design]] = {}
    for design in hand:
        if space.spec(design.plan).recovery is not None:  # those that share a training come together
            trained.setdefault(space.spec(design.plan).training_key(), []).append(design)
    rounds = zip_longest((ours[i : i + OURS_AT_ONCE] for i in range(0, len(ours), OURS_AT_ONCE)), trained.values())
    order = [*untrained, *(design for some, its in rounds for design in (*(some or ()), *(its or ())))]
    return list(_with_siblings(space, order, frozenset(levels)))


def _with_siblings(space: Space, designs: Sequence[Design], levels: frozenset[Plan]) -> Iterator[Design]:
    """Yield the designs, and after each uniform one by levels the same in other bits, each plan once."""
    given = {design.plan for design in designs}
    for design in designs:
        yield design
        for plan in in_other_bits(space, design.plan) if design.plan in levels else ():
            if plan not in given:
                given.add(plan)
                yield Design(plan, Origin.DESIGN, "initial design")


def whole_students(space: Space) -> Iterator[Design]:
    """Yield plans that only lose bits and are taught gently: worth a trial before any sampler knows better."""
    lowest = 8 if 8 in space.options("bits") else FULL
    gentle, aware = space.variable("recovery:learning_rate"), space.variable("recovery:quantization")
    rate = (
        {gentle.name: GENTLE_PART * space.context.recovery.learning_rate}
        if gentle is not None and gentle.is_searched
        else {}
    )
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
