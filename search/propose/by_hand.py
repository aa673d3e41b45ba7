"""What a user would do without a search: it opens every study, so that a front shows what the search is worth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ...spaces.axes.bits import FULL
from ...spaces.axes.registry import SIZES
from ...spaces.plan import Plan
from ...spaces.presence import absent_layers
from ...spaces.space import Space
from ...spaces.variables import Value
from ..trial import Origin

WIDTHS = (0.5, 0.75, 0.25)
"""Uniform widths, the middle first: it is the likeliest to give a usable model soon."""
PRECISIONS = (8, 16, 4)


@dataclass(frozen=True)
class Design:
    """A plan that a study begins with.

    Attributes:
        plan: The plan.
        origin: Who proposed it.
        label: What users see.
        latent: The numbers that it was decoded from, where it was.
        technique: What it is made by hand to show, where it is.
        after: Number of the finished trial whose weights it begins with, None for the teacher's.
    """

    plan: Plan
    origin: Origin
    label: str
    latent: Mapping[str, Value] | None = None
    technique: str = ""
    after: int | None = None

    def __hash__(self) -> int:
        return hash((self.plan, self.label))


def by_hand(space: Space) -> Iterator[Design]:
    """Yield what a user would do by hand, on every target that plans choose from.

    It is the teacher as it is and in every plain precision of the targets, with activations in every way; uniform
    pruning with recovery, in every precision; and the fixed pipeline of tutorials: prune half, fine-tune on labels,
    quantize, export.
    """
    offered = [bits for bits in PRECISIONS if bits in space.options("bits")]
    yield from on_targets(space, Origin.TEACHER, "teacher", Plan())
    for bits in offered:
        label = f"teacher {'int' if bits < 16 else ''}{bits}{' bits' if bits >= 16 else ''}"
        for design in on_targets(space, Origin.BY_HAND, label, Plan(), bits=bits):
            yield design
            yield from in_other_ways(space, design)
    if any(space.of(axis) for axis in SIZES):
        for width in WIDTHS:
            for bits in (8, 32) if 8 in offered else (32,):
                label = f"uniform {width:.0%}" + (" int8" if bits == 8 else "")
                yield from on_targets(space, Origin.BY_HAND, label, space.taught, width, bits)
            if width == WIDTHS[0] and 8 in offered:
                like = space.taught.changed({"recovery:alpha": 0.0})
                yield from on_targets(space, Origin.BY_HAND, "prune, fine-tune, int8", like, width, 8)


def in_other_ways(space: Space, design: Design) -> Iterator[Design]:
    """Yield a design with all activations quantized in each other way that its bits have on its target."""
    for way in (str(option) for option in space.options("ranges")):
        plan = space.uniform({"ranges": way}, design.plan)
        if plan != design.plan:
            yield Design(plan, design.origin, f"{design.label}, {way} activations")


def uniform(space: Space, width: float, bits: int, like: Plan | None = None) -> Plan:
    """Return the plan that treats all groups and all layers alike.

    Args:
        space: The space.
        width: Part of its channels that each group keeps, 0.0 to 1.0.
        bits: Of every layer that has these bits.
        like: The plan that all other decisions are taken from; one that is taught in the default way if None.
    """
    return space.uniform({**dict.fromkeys(SIZES, width), "bits": bits}, space.taught if like is None else like)


def on_targets(
    space: Space, origin: Origin, label: str, like: Plan, width: float = 1.0, bits: int = FULL
) -> Iterator[Design]:
    """Yield the uniform plan for every target that plans choose from and that has its precision.

    Args:
        space: The space.
        origin: Who proposes it.
        label: What users see; what is made by hand is told apart by its target, for all but the first.
        like: The plan that all other decisions are taken from.
        width: Part of its channels that each group keeps, 0.0 to 1.0.
        bits: Of every layer that has these bits.
    """
    targets = [str(name) for name in space.options("target")]
    for target in targets or [""]:
        # the target comes first: bits that another target does not have would be lost for this one
        plan = uniform(space, width, bits, like.changed({"target": target}) if target else like)
        gone = absent_layers(space.context, space.spec(plan))
        there = (v for v in space.of("bits") if bits in v.options and not gone.issuperset(v.layers))
        if all(plan.choices.get(v.name, FULL) == bits for v in there):
            named = target in targets[1:] and origin in (Origin.TEACHER, Origin.BY_HAND)
            yield Design(plan, origin, f"{label}, {target}" if named else label)
