"""Flavours of simulated networks: in which way the truth differs from what single changes and predictions tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from autocompress.spaces.context import SpaceContext
from autocompress.spaces.variables import Variable

from .landscape import words_rng
from .network import paper_network
from .transformer import paper_transformer

Misled = Literal["shuffled", "reversed"]
Looks = dict[str, tuple[float, ...]]
TRIES = 200


@dataclass(frozen=True)
class Flavour:
    """What is peculiar to a simulated network.

    Attributes:
        make: Returns the network on paper, of so many decisions.
        interacting: Whether variables do harm together, in pairs, that they do not do alone.
        power: The loss (nats) grows with this power of the summed harm. Above 1 each single change is nearly free and
            many together are not; below 1 the first changes cost most.
        by_role: Whether each kind of variable has a sum of its own to take the power of, and these are added: the
            harm of single changes then tells nothing of what a kind with many variables does when all of them change.
        misled: Role -> how looks at its variables mislead: their order has nothing to do with the truth, or is the
            truth's turned round.
        teaching: Whether it is for the search to find how students are taught; else all are taught in the best way, so
            that the known front can be reached by choices about the network alone.
        overrated: Role -> the part by which the predicted latency overrates what its variables save.
    """

    make: Callable[[int], SpaceContext] = paper_network
    interacting: bool = True
    power: float = 1.0
    by_role: bool = False
    teaching: bool = False
    misled: Mapping[str, Misled] = field(default_factory=dict)
    overrated: Mapping[str, float] = field(default_factory=dict)


FLAVOURS: Mapping[str, Flavour] = {
    "additive": Flavour(interacting=False, teaching=True),
    "interacting": Flavour(teaching=True),
    "dominant": Flavour(paper_transformer, power=2.0, by_role=True),
    "saturating": Flavour(power=0.5),
    "superadditive": Flavour(power=2.0),
    "misleading": Flavour(paper_transformer, misled={"heads": "shuffled", "feed-forward": "reversed"}),
    "wronglatency": Flavour(paper_transformer, overrated={"feed-forward": 0.2}),
}


def mislead(looks: Looks, variables: Sequence[Variable], truth: Sequence[float], how: Misled, seed: int) -> Looks:
    """Return looks in which these variables have changed places.

    Args:
        looks: Variable name -> what was seen of each option. These variables have equally many.
        variables: All of one role.
        truth: The harm that each of them really does.
        how: What becomes of their order.
        seed: Of the network.
    """
    names = [variable.name for variable in variables]
    seen = np.array([looks[name] for name in names])
    ranks = np.argsort(np.argsort(truth))
    rising = seen[np.argsort(seen[:, -1])]
    if how == "reversed":
        taken = len(names) - 1 - ranks
    else:
        rng = words_rng(seed, "misled", *names[:1])
        orders = [rng.permutation(len(names)) for _ in range(TRIES)]
        taken = min(orders, key=lambda order: abs(float(np.dot(order - order.mean(), ranks - ranks.mean()))))
    return {**looks, **{name: tuple(map(float, rising[i])) for name, i in zip(names, taken, strict=True)}}
