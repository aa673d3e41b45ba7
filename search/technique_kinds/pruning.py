"""Techniques that take channels away and train on labels alone."""

from __future__ import annotations

from collections.abc import Iterator

from ...spaces.axes.bits import FULL
from ...spaces.plan import Plan
from ..propose.by_hand import uniform
from ..propose.ranked import ranked
from .context import DesignContext, design
from .facts import narrower, own_counts, twice_narrower
from .kind import Marks, Steps, TechniqueKind, on_labels

ROUNDS = (0.8, 0.65, 0.5, 0.4, 0.32, 0.25)
"""Widths that iterative pruning goes through: about a fifth of the channels that are left goes at a time, as in Han et
al. 2015, arXiv:1506.02626, section 3.4."""
LEAST_ROUND = 0.9
"""A last round that would keep more than this part of the channels is one with the round before it."""


def _alike(context: DesignContext, width: float) -> Plan:
    return uniform(context.space, width, FULL, context.taught(on_labels=True))


def _pruned(context: DesignContext) -> Iterator[Steps]:
    for width in context.widths(lambda width: _alike(context, width)):
        yield (design(_alike(context, width), f"prune {width:.0%}"),)


def _ranked(context: DesignContext) -> Iterator[Steps]:
    def plan(width: float) -> Plan:
        return ranked(context.space, width, context.taught(on_labels=True))

    for width in context.widths(plan):
        yield (design(plan(width), f"global ranking {width:.0%}"),)


def _in_rounds(context: DesignContext) -> Iterator[Steps]:
    for width in context.widths(lambda width: _alike(context, width)):
        through = [each for each in ROUNDS if width < LEAST_ROUND * each]
        plans = {_alike(context, each): each for each in (*through, width)}
        # where the nearest count is the full one, nothing would be pruned
        rounds = {plan: each for plan, each in plans.items() if context.space.spec(plan).channels}
        if len(rounds) == 1:
            continue  # that is pruning alone
        *first, last = (design(plan, f"prune {each:.0%}, a round") for plan, each in rounds.items())
        yield *first, design(last.plan, f"prune to {width:.0%} in {len(rounds)} rounds")


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
GLOBAL = TechniqueKind(
    "global pruning",
    "channels of all groups in one ranking by the study's criterion, the last are gone, trained on labels alone",
    _ranked,
    needs=(own_counts,),
    narrows=True,
)
ITERATIVE = TechniqueKind(
    "iterative pruning",
    "pruned alike everywhere in rounds, each trained on labels alone before the next",
    _in_rounds,
    needs=(twice_narrower,),
    narrows=True,
)
