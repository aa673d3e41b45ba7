"""What a user would do without a search: it opens every study, so that a front shows what the search is worth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ...spaces.plan import Plan
from ...spaces.space import Space
from ...spaces.variables import Option, Value
from ..trial import Origin

WIDTHS = (0.5, 0.75, 0.25)
"""Uniform widths, the middle first: it is the likeliest to give a usable model soon."""
SIZES = ("channels", "width")
"""The axes that make a whole student narrower."""
PRECISIONS = (8, 16, 4)


@dataclass(frozen=True)
class Design:
    """A plan that a study begins with.

    Attributes:
        plan: The plan.
        origin: Who proposed it.
        label: What users see.
        latent: The numbers that it was decoded from, where it was.
    """

    plan: Plan
    origin: Origin
    label: str
    latent: Mapping[str, Value] | None = None

    def __hash__(self) -> int:
        return hash((self.plan, self.label))


def by_hand(space: Space) -> Iterator[Design]:
    """Yield what a user would do by hand, on every target that plans choose from.

    It is the teacher as it is and in every plain precision of the targets; uniform pruning with recovery, in every
    precision; and the fixed pipeline of tutorials: prune half, fine-tune on labels, quantize, export.
    """
    offered = [bits for bits in PRECISIONS if bits in space.options("bits")]
    yield from on_targets(space, Design(Plan(), Origin.TEACHER, "teacher"))
    for bits in offered:
        label = f"teacher {'int' if bits < 16 else ''}{bits}{' bits' if bits >= 16 else ''}"
        yield from on_targets(space, Design(space.uniform({"bits": bits}), Origin.BY_HAND, label))
    if any(space.of(axis) for axis in SIZES):
        for width in WIDTHS:
            for bits in (8, 32) if 8 in offered else (32,):
                label = f"uniform {width:.0%}" + (" int8" if bits == 8 else "")
                yield from on_targets(space, Design(uniform(space, width, bits), Origin.BY_HAND, label))
            if width == WIDTHS[0] and 8 in offered:
                plan = uniform(space, width, 8, {"recovery:alpha": 0.0})
                yield from on_targets(space, Design(plan, Origin.BY_HAND, "prune, fine-tune, int8"))


def uniform(space: Space, width: float, bits: int, choices: dict[str, Option] | None = None) -> Plan:
    """Return the trained plan that treats all groups and all layers alike.

    Args:
        space: The space.
        width: Part of its channels that each group keeps, 0.0 to 1.0.
        bits: Of every layer.
        choices: Other decisions, by variable name.
    """
    like = space.taught.changed(choices or {})
    return space.uniform({**dict.fromkeys(SIZES, width), "bits": bits}, like)


def on_targets(space: Space, design: Design) -> Iterator[Design]:
    """Yield the design for every target that plans choose from and that has its precisions."""
    wanted = space.spec(design.plan).bits
    for target in space.options("target") or ("",):
        plan = space.repair(design.plan.changed({"target": target})) if target else design.plan
        if space.spec(plan).bits == wanted or not target:  # else this target has no such precision
            named = not plan.of("target") or design.origin in (Origin.SEARCH, Origin.DESIGN)
            yield Design(plan, design.origin, design.label if named else f"{design.label}, {target}", design.latent)
