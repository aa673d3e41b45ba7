"""Techniques that train few weights of a narrower network, by the teacher: what they save is memory and time."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ...spaces.axes.bits import FULL
from ...spaces.axes.recovery import METHOD
from ...spaces.plan import Plan
from ..propose.by_hand import uniform
from .context import DesignContext, design
from .facts import asked_in_recovery, narrower
from .kind import Steps, TechniqueKind


def _tuned(way: str) -> Callable[[DesignContext], Iterator[Steps]]:
    """Return the designs of a way to train: the network has the widths of pruning."""

    def designs(context: DesignContext) -> Iterator[Steps]:
        def plan(width: float) -> Plan:
            return uniform(context.space, width, FULL, context.taught().changed({METHOD: way}))

        for width in context.widths(plan):
            yield (design(plan(width), f"prune {width:.0%}, {way}"),)

    return designs


def _kind(name: str, way: str, what: str) -> TechniqueKind:
    meaning = f"pruned alike everywhere, {what}, taught by the teacher"
    return TechniqueKind(name, meaning, _tuned(way), needs=(narrower, asked_in_recovery("ways", way)), narrows=True)


CLASSIFIER = _kind("classifier only", "classifier", "the last layer alone is trained")
BITFIT = _kind("BitFit", "bitfit", "biases, norms and the last layer are trained")
LORA = _kind("LoRA", "lora", "updates of low rank are trained and merged into the weights")
QLORA = _kind("QLoRA", "qlora", "updates of low rank are trained over weights in 8 bits and merged")
ADAPTERS = _kind("adapters", "adapters", "bottlenecks are put into every block and trained, and stay in the file")
