"""Techniques that do one thing after the other, as a search does all together, over a grid of widths and rates."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from ...spaces.axes.bits import FULL
from ...spaces.axes.recovery import AWARE
from ...spaces.plan import Plan
from ..propose.by_hand import uniform
from .context import RATES, DesignContext, design
from .facts import EIGHT, eight_bits, narrower, trained_bits
from .kind import Marks, Steps, TechniqueKind, on_labels
from .quantization import int8_trained


def _grid(context: DesignContext) -> Iterator[tuple[float, float]]:
    """Yield widths of students in 8 bits and multiples of the usual learning rate."""
    widths = context.widths(lambda width: uniform(context.space, width, EIGHT))
    yield from product(widths, RATES)


def _int8(context: DesignContext, width: float, like: Plan) -> Plan:
    return uniform(context.space, width, EIGHT, like)


def _prune_quantize(context: DesignContext) -> Iterator[Steps]:
    aware = AWARE in context.space.options("recovery")
    for width, rate in _grid(context):
        at, like = context.at(rate), context.taught(rate)
        yield (design(_int8(context, width, like), f"prune {width:.0%}, then int8{at}"),)
        if aware:
            first = design(uniform(context.space, width, FULL, like), f"uniform {width:.0%}{at}")
            plan = _int8(context, width, context.taught(rate, aware=True))
            yield first, design(plan, f"prune {width:.0%}, then train int8{at}")


def _quantize_prune(context: DesignContext) -> Iterator[Steps]:
    for width, rate in _grid(context):
        plan = _int8(context, width, context.taught(rate, aware=True))
        yield int8_trained(context), design(plan, f"int8, then prune {width:.0%}{context.at(rate)}")


def _tutorials(context: DesignContext) -> Iterator[Steps]:
    for width, rate in _grid(context):
        plan = _int8(context, width, context.taught(rate, on_labels=True))
        yield (design(plan, f"prune {width:.0%}, fine-tune, int8{context.at(rate)}"),)


def _marks(labels: bool) -> Marks:
    return Marks(
        frozenset({"channels", "bits"}),
        EIGHT,
        taught=True,
        tells=lambda trial, recovery: (
            trial.by_hand and on_labels(recovery) == labels and not recovery.quantization_aware
        ),
    )


PRUNE_QUANTIZE = TechniqueKind(
    "prune then quantize",
    "pruned alike everywhere and taught by the teacher, then 8 bits",
    _prune_quantize,
    needs=(eight_bits, narrower),
    marks=_marks(labels=False),
    narrows=True,
    sequence=True,
)
QUANTIZE_PRUNE = TechniqueKind(
    "quantize then prune",
    "8 bits with training first, then pruned alike everywhere and trained again",
    _quantize_prune,
    needs=(eight_bits, trained_bits, narrower),
    narrows=True,
    sequence=True,
)
TUTORIALS = TechniqueKind(
    "pipeline of tutorials",
    "pruned alike everywhere, trained on labels alone, then 8 bits without training",
    _tutorials,
    needs=(eight_bits, narrower),
    marks=_marks(labels=True),
    narrows=True,
    sequence=True,
)
