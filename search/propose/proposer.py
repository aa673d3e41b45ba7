"""What is tried next: plans left over from an interrupted run, the opening, then samplers over few numbers, moves
around the front and crossovers of it in turn. What is predicted to miss the budget is dropped before it is built."""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from ...evaluators.latency_model import LatencyLearner
from ...spaces.allocate.forecast import guess_for
from ...spaces.axes.base import Parameter, Value
from ...spaces.neighbours.crossover import Crossover
from ...spaces.neighbours.moves import Mover
from ...spaces.plan import Plan
from ...spaces.sites import Sites
from ...spaces.space import Space
from ...spaces.surrogates import Guide
from ..pareto import non_dominated
from ..trial import OF_THE_SEARCH, SEED, Trial
from .by_hand import Baseline
from .encode import redescribed
from .samplers import Sampler

REDRAWS = 60
"""Draws before the space counts as exhausted."""
CANDIDATES = 6
"""Neighbours that are drawn for one proposal; one that no other beats in predicted latency and damage is taken."""
SLACK = 3.0
"""A plan is dropped where it is predicted to be over the budget by more than this many times the usual error."""
LEAST_SLACK = 0.05
"""And by more than this part of it: the gate that would decide costs a second, a good plan left out costs more."""


SAME_BUDGET = 0.05
"""Seeds for budgets that differ by less than this part are the same."""


class Encoding(Protocol):
    """A description of plans in few numbers: `spaces.space.Space`, `spaces.shares.ShareEncoding`."""

    def latent(self) -> dict[str, Parameter]: ...

    def decode(self, latent: Mapping[str, Value]) -> Plan: ...


@dataclass(frozen=True)
class Arm:
    """An encoding with a sampler over its numbers. share: of the proposals, against those of other ways."""

    name: str
    encoding: Encoding
    sampler: Sampler
    share: float = 1.0


@dataclass(frozen=True)
class Proposal:
    """A plan to try. ticket: of the arm's sampler, where that drew the plan. number: of the trial it goes on with, if
    any."""

    plan: Plan
    origin: str
    latent: Mapping[str, Value] | None
    ticket: int | None = None
    number: int | None = None
    arm: str = ""


@dataclass(frozen=True)
class Worth:
    """A finished trial. cost: objectives, lower is better. fits: under every limit of the study. interest: how much
    the user looks there."""

    trial: Trial
    cost: tuple[float, ...]
    fits: bool
    interest: float = 1.0


class Proposer:
    """Never proposes a plan twice.

    opening: what every study begins with. budgets: latency (ms) by target. moves, crossovers: their shares of the
    proposals once there is a front, against those of the arms.
    """

    def __init__(
        self,
        space: Space,
        arms: Sequence[Arm],
        seed: int,
        opening: Sequence[Baseline] = (),
        guide: Guide | None = None,
        budgets: Mapping[str, float] | None = None,
        moves: float = 1.0,
        crossovers: float = 0.25,
    ) -> None:
        self._space, self._arms = space, {arm.name: arm for arm in arms}
        self._guide, self._budgets = guide or Guide(), dict(budgets or {})
        self._shares = (moves, crossovers)
        self._random = random.Random(seed)
        self._sites = Sites(space)
        self._crossover = Crossover(self._sites)
        self._mover = Mover(space, guide)
        self._seen: set[str] = set()
        self._over: tuple[float, Proposal] | None = None
        self._queue: deque[Proposal] = deque(Proposal(b.plan, b.name, b.latent) for b in opening)

    def know(self, trials: Sequence[Trial], interrupted: Sequence[Trial]) -> None:
        """What an earlier run of this study proposed, and what it left running: the latter comes first again. Seeds for
        budgets that it had seeds for are not proposed anew, though the guide may know better by now."""
        seeds = [t.latent for t in (*trials, *interrupted) if t.origin == SEED]
        again = [p for p in self._queue if p.origin == SEED and any(_same_budget(p.latent, s) for s in seeds)]
        self._queue = deque(p for p in self._queue if p not in again)
        self._random.seed(f"{self._random.random()}/{len(trials)}")
        self._seen.update(trial.plan.key() for trial in trials)
        for trial in reversed(interrupted):
            self._queue.appendleft(Proposal(trial.plan, trial.origin, trial.latent, None, trial.number))

    @property
    def opening(self) -> bool:
        """Whether plans of the opening are still to come."""
        return bool(self._queue)

    @property
    def latent(self) -> dict[str, Parameter]:
        """All numbers that some arm draws."""
        return {name: p for arm in self._arms.values() for name, p in arm.encoding.latent().items()}

    def propose(self, points: Sequence[Worth]) -> Proposal | None:
        """The next plan; None when nothing new can be drawn from this space."""
        while self._queue:
            proposal = self._queue.popleft()
            # what one would do by hand is measured whatever its latency: it shows what the search is worth
            own = proposal.number is None and proposal.origin.startswith(OF_THE_SEARCH)
            if self._space.key(proposal.plan) in self._seen or (own and self._predicted_over(proposal.plan) > 1):
                continue
            return self._note(proposal)
        parents = [p for p in points if p.trial.plan.recovery is not None]
        parents = [parents[i] for i in non_dominated([p.cost for p in parents])]
        self._over = None
        ways: list[tuple[float, Callable[[], Proposal | None]]] = [
            (arm.share, partial(self._draw, arm)) for arm in self._arms.values()
        ]
        if parents:
            ways.append((self._shares[0], partial(self._moved, parents)))
        if len(parents) > 1:
            ways.append((self._shares[1], partial(self._crossed, parents)))
        ways = [way for way in ways if way[0] > 0]
        for _ in range(REDRAWS if ways else 0):
            way = self._random.choices([w for _, w in ways], [share for share, _ in ways])[0]
            drawn = way()
            if drawn is not None:
                return self._note(drawn)
        # nothing is predicted to keep the budget: the gate decides on what comes closest
        return None if self._over is None else self._note(self._over[1])

    def measured(self, plan: Plan, latencies_ms: Mapping[str, float]) -> None:
        """A shape's latency by target: the guide learns from it."""
        for name, ms in latencies_ms.items():
            guess = self._guide.latency.get(name)
            if isinstance(guess, LatencyLearner):
                guess.add(plan, ms)

    def learn(
        self, trial: Trial, costs: Sequence[float] | None, violation: float | None, proposal: Proposal | None
    ) -> None:
        """What became of a trial. costs: its objectives, lower is better, None while nothing is known of them.
        violation: measured / limit - 1, of one that the samplers are to learn to avoid."""
        if trial.latent is None:
            return
        if costs is None:
            for arm in self._arms.values() if trial.outcome in ("gated", "failed") else ():
                drawn = proposal is not None and proposal.arm == arm.name
                if drawn or arm.encoding.latent().keys() <= trial.latent.keys():
                    ticket = proposal.ticket if proposal and drawn else None
                    arm.sampler.reject(trial.number, trial.latent, ticket, violation)
            return
        # a number that came with a later version stands for no change where it is not told
        latent = {"width_sensitivity": 0.0, **trial.latent}
        for arm in self._arms.values():
            drawn = proposal is not None and proposal.arm == arm.name
            arm.sampler.tell(trial.number, latent, costs, proposal.ticket if proposal and drawn else None)

    def _note(self, proposal: Proposal) -> Proposal:
        self._seen.add(self._space.key(proposal.plan))
        return proposal

    def _is_new(self, proposal: Proposal) -> bool:
        """Whether the plan was never proposed, and may meet the budgets as far as the guide can tell."""
        if self._space.key(proposal.plan) in self._seen:
            return False
        over = self._predicted_over(proposal.plan)
        if over > 1 and (self._over is None or over < self._over[0]):
            self._over = over, replace(proposal, ticket=None, arm="")
        return over <= 1

    def _predicted_over(self, plan: Plan) -> float:
        """The largest part of what a budget and the usual error allow; above 1 a plan is surely over."""
        found = 0.0
        for name, limit in self._budgets.items():
            guess = self._guide.latency.get(name)
            if guess is not None and plan.target in ("", name):
                allowed = limit * (1 + max(LEAST_SLACK, SLACK * guess.relative_error))
                found = max(found, guess.predict_ms(plan) / allowed)
        return found

    def _draw(self, arm: Arm) -> Proposal | None:
        ticket, latent = arm.sampler.ask()
        proposal = Proposal(arm.encoding.decode(latent), "search", latent, ticket, arm=arm.name)
        if self._is_new(proposal):
            return proposal
        arm.sampler.reject(-1, latent, ticket)
        return None

    def _moved(self, parents: Sequence[Worth]) -> Proposal | None:
        def draw() -> Proposal:
            parent = self._parent(parents)
            # as near as the space of today comes: an earlier run of the study may have had another
            plan = self._sites.assemble(self._sites.choices(parent.plan), parent.plan)
            for _ in range(self._random.choice((1, 1, 2, 3))):
                plan = self._mover.move(plan, self._random)
            latent = redescribed(self._space, parent.latent, plan)
            return Proposal(plan, f"move of {parent.number}", latent)

        return self._pick(draw)

    def _crossed(self, parents: Sequence[Worth]) -> Proposal | None:
        def draw() -> Proposal:
            a, b = self._parent(parents), self._parent(parents)
            plan = self._crossover.cross(a.plan, b.plan, self._random)
            latent = redescribed(self._space, a.latent, plan)
            return Proposal(plan, f"cross of {a.number} and {b.number}", latent)

        return self._pick(draw)

    def _parent(self, parents: Sequence[Worth]) -> Trial:
        """A trial of the front, the likelier the more the user looks there."""
        return self._random.choices(parents, [p.interest for p in parents])[0].trial

    def _pick(self, draw: Callable[[], Proposal]) -> Proposal | None:
        """One of a few new candidates, of those that no other beats in what the guide says of them."""
        found = list(self._new_ones(draw))
        if not found:
            return None
        if self._guide.damage and self._guide.latency:
            guessed = [(self._predicted_ms(p.plan), self._guide.damage_of(self._sites, p.plan)) for p in found]
            found = [found[i] for i in non_dominated(guessed)]
        return self._random.choice(found)

    def _new_ones(self, draw: Callable[[], Proposal]) -> Iterator[Proposal]:
        guided = bool(self._guide.damage and self._guide.latency)
        wanted = CANDIDATES if guided else 1
        for _ in range(2 * CANDIDATES):
            if wanted and self._is_new(proposal := draw()):
                wanted -= 1
                yield proposal

    def _predicted_ms(self, plan: Plan) -> float:
        guess = guess_for(self._guide, plan.target)
        return guess.predict_ms(plan) if guess else 0.0


def _same_budget(a: Mapping[str, Value] | None, b: Mapping[str, Value] | None) -> bool:
    """Whether the integer program's plans for two budgets stand for the same region. a, b: their latent numbers."""
    if a is None or b is None or not {"budget_ms"} <= a.keys() & b.keys() or a.get("target") != b.get("target"):
        return False
    return abs(math.log(float(a["budget_ms"]) / float(b["budget_ms"]))) < SAME_BUDGET
