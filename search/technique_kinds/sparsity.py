"""Techniques that set single weights to zero and keep every layer's shape, trained on labels alone.

Those with unstructured zeros have one mask, that of the trained network, and differ in how the weights that are
left are trained: so a table shows what the trained weights are worth beside the mask (Frankle and Carbin 2019,
arXiv:1803.03635; Renda et al. 2020, arXiv:2003.02389).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ...spaces.axes.patterns import word_of
from ...spaces.axes.recovery import EARLY, NEW, START
from ...spaces.plan import Plan
from ...spaces.spec import Pattern
from .context import FULL_TIMES, DesignContext, design
from .facts import asked_in_recovery, one_mask, zeros
from .kind import Steps, TechniqueKind

UNSTRUCTURED_ZEROS = word_of(Pattern("unstructured", 0.8))
"""Four of five weights of each layer are zero: so few that what is left must be trained well."""
TWO_OF_FOUR = word_of(Pattern("2:4", 0.5))

needs_unstructured, needs_two_of_four = zeros("unstructured", UNSTRUCTURED_ZEROS), zeros("2:4", TWO_OF_FOUR)


def _with(
    option: str, label: str, taught: Callable[[DesignContext], Plan]
) -> Callable[[DesignContext], Iterator[Steps]]:
    """Return the designs of a technique that has one setting: one pattern in all layers that may have it."""

    def designs(context: DesignContext) -> Iterator[Steps]:
        yield (design(context.space.uniform({"pattern": option}, taught(context)), label),)

    return designs


def _fine_tuned(context: DesignContext) -> Plan:
    return context.taught(on_labels=True)


def _rewound(context: DesignContext) -> Plan:
    return context.taught(FULL_TIMES, on_labels=True)


def _early(context: DesignContext) -> Plan:
    return _rewound(context).changed({START: EARLY})


def _renewed(context: DesignContext) -> Plan:
    return _rewound(context).changed({START: NEW})


UNSTRUCTURED = TechniqueKind(
    "unstructured pruning",
    "the smallest weights of each layer are zero, the others trained on labels alone",
    _with(UNSTRUCTURED_ZEROS, "80% zeros", _fine_tuned),
    needs=(needs_unstructured,),
)
TWO_FOUR = TechniqueKind(
    "2:4 sparsity",
    "two of every four weights are zero, the others trained on labels alone",
    _with(TWO_OF_FOUR, "2:4 zeros", _fine_tuned),
    needs=(needs_two_of_four,),
)
REWINDING = TechniqueKind(
    "learning-rate rewinding",
    "the mask of unstructured pruning, the trained weights, trained at the rate of a training from the start",
    _with(UNSTRUCTURED_ZEROS, "80% zeros, rate rewound", _rewound),
    needs=(needs_unstructured, one_mask),
)
LOTTERY = TechniqueKind(
    "lottery ticket",
    "the mask of unstructured pruning, the weights that the network had early in its training",
    _with(UNSTRUCTURED_ZEROS, "80% zeros, early weights", _early),
    needs=(needs_unstructured, one_mask, asked_in_recovery("starts", EARLY)),
)
REINITIALIZED = TechniqueKind(
    "random reinitialization",
    "the mask of unstructured pruning, new random weights: the control of lottery tickets",
    _with(UNSTRUCTURED_ZEROS, "80% zeros, new weights", _renewed),
    needs=(needs_unstructured, one_mask),
)
