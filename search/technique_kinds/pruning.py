"""Techniques that take channels away and train on labels alone."""

from __future__ import annotations

from collections.abc import Iterator

from ...spaces.axes.bits import FULL
from ...spaces.plan import Plan
from ..propose.by_hand import uniform
from .context import DesignContext, design
from .facts import narrower
from .kind import Marks, Steps, TechniqueKind, on_labels


def _alike(context: DesignContext, width: float) -> Plan:
    return uniform(context.space, width, FULL, context.taught(on_labels=True))


def _pruned(context: DesignContext) -> Iterator[Steps]:
    for width in context.widths(lambda width: _alike(context, width)):
        yield (design(_alike(context, width), f"prune {width:.0%}"),)


PRUNING = TechniqueKind(
    "pruning alone",
    "all groups keep the same part of their channels, trained on labels alone",
    _pruned,
    needs=(narrower,),
    marks=Marks(
        frozenset({"channels"}),
        taught=True,
        tells=lambda trial, recovery: trial.by_hand and on_labels(recovery) and not recovery.quantization_aware,
    ),
    narrows=True,
)
