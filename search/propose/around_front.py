"""Around the front: plans that were moved a little from one of the front, or crossed from two."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

from ...spaces.neighbours.crossover import cross
from ...spaces.neighbours.moves import Mover
from ...spaces.plan import Plan
from ...spaces.space import Space
from ...spaces.surrogates import Surrogates
from ..pareto import non_dominated
from ..trial import Origin, Trial
from .proposal import Candidate, Proposal

CANDIDATES = 6
"""Neighbours that are drawn for one proposal; one that no other beats in predicted latency and harm is taken."""
IsNew = Callable[[Proposal], bool]
"""Tells whether a proposal may be made."""


class AroundFront:
    """Proposes neighbours of what is best so far."""

    def __init__(self, space: Space, surrogates: Surrogates, random_: random.Random) -> None:
        """Propose plans of `space`.

        Args:
            space: What is searched.
            surrogates: What is known of it.
            random_: Of all random choices.
        """
        self._space, self._surrogates, self._random = space, surrogates, random_
        self._mover = Mover(space, surrogates)

    def moved(self, parents: Sequence[Candidate], is_new: IsNew) -> Proposal | None:
        """Return a plan of the front with one to three decisions changed, None where nothing is new."""

        def draw() -> Proposal:
            parent = self._parent(parents)
            # as near as the space of today comes: an earlier run of the study may have had another
            plan = self._space.repair(parent.plan)
            for _ in range(self._random.choice((1, 1, 2, 3))):
                plan = self._mover.move(plan, self._random)
            return Proposal(plan, Origin.MOVE, f"move of {parent.number}", None)

        return self._pick(draw, is_new)

    def crossed(self, parents: Sequence[Candidate], is_new: IsNew) -> Proposal | None:
        """Return a plan made of two of the front, None where nothing is new."""

        def draw() -> Proposal:
            a, b = self._parent(parents), self._parent(parents)
            plan = cross(self._space, self._space.repair(a.plan), self._space.repair(b.plan), self._random)
            return Proposal(plan, Origin.CROSS, f"cross of {a.number} and {b.number}", None)

        return self._pick(draw, is_new)

    def _parent(self, parents: Sequence[Candidate]) -> Trial:
        """Return a trial of the front, the likelier the more the user looks there."""
        return self._random.choices(parents, [p.interest for p in parents])[0].trial

    def _pick(self, draw: Callable[[], Proposal], is_new: IsNew) -> Proposal | None:
        """Return one of a few new plans, of those that no other beats in what is predicted of them."""
        found = list(self._new_ones(draw, is_new))
        if not found:
            return None
        if self._guided:
            guessed = [(self._predicted_ms(p.plan), self._surrogates.harm(self._space, p.plan)) for p in found]
            found = [found[i] for i in non_dominated(guessed)]
        return self._random.choice(found)

    @property
    def _guided(self) -> bool:
        return bool(self._surrogates.sensitivity and self._surrogates.latency)

    def _new_ones(self, draw: Callable[[], Proposal], is_new: IsNew) -> Iterator[Proposal]:
        wanted = CANDIDATES if self._guided else 1
        for _ in range(2 * CANDIDATES):
            if wanted and is_new(proposal := draw()):
                wanted -= 1
                yield proposal

    def _predicted_ms(self, plan: Plan) -> float:
        spec = self._space.spec(plan)
        surrogate = self._surrogates.latency_for(spec.target)
        return surrogate.predict_ms(spec) if surrogate else 0.0
