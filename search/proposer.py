"""What is tried next: plans left over from an interrupted run, what a user would do by hand, seeds, then the sampler
and moves around the front in turn."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..spaces.axis import Number, Value
from ..spaces.bits import BitsAxis
from ..spaces.channels import ChannelAxis
from ..spaces.moves import Mover
from ..spaces.plan import Plan
from ..spaces.recovery import RecoveryAxis
from ..spaces.space import Space
from .baselines import baselines, seeds
from .front import non_dominated
from .record import Trial
from .sampler import Sampler

MOVE_SHARE = 0.5
"""Part of the proposals, once there is a front, that move a plan of it."""
REDRAWS = 60
"""Draws before the space counts as exhausted."""


@dataclass(frozen=True)
class Proposal:
    """A plan to try. ticket: the sampler's, where it drew the plan. number: of the trial it goes on with, if any."""

    plan: Plan
    origin: str
    latent: Mapping[str, Value] | None
    ticket: int | None = None
    number: int | None = None


@dataclass(frozen=True)
class Worth:
    """A point of the front so far. cost: objectives, lower is better. fits: under every limit of the study."""

    trial: Trial
    cost: tuple[float, ...]
    fits: bool


class Proposer:
    """Never proposes a plan twice."""

    def __init__(self, space: Space, sampler: Sampler, seed: int, with_baselines: bool = True) -> None:
        self._space = space
        self._sampler = sampler
        self._random = random.Random(seed)
        self._mover = Mover(space)
        self._seen: set[str] = set()
        opening = [*baselines(space), *seeds(space)] if with_baselines else []
        self._queue: deque[Proposal] = deque(Proposal(b.plan, b.name, b.latent) for b in opening)

    def know(self, trials: Sequence[Trial], interrupted: Sequence[Trial]) -> None:
        """What an earlier run of this study ended, and what it left running: the latter comes first again."""
        self._random.seed(f"{self._random.random()}/{len(trials)}")
        self._seen.update(trial.plan.key() for trial in trials)
        for trial in reversed(interrupted):
            self._queue.appendleft(Proposal(trial.plan, trial.origin, trial.latent, None, trial.number))

    @property
    def opening(self) -> bool:
        """Whether baselines and seeds are still to come."""
        return bool(self._queue)

    def propose(self, points: Sequence[Worth]) -> Proposal | None:
        """The next plan; None when nothing new can be drawn from this space."""
        while self._queue:
            proposal = self._queue.popleft()
            if self._space.key(proposal.plan) not in self._seen:
                return self._note(proposal)
        parents = self._parents(points)
        if parents and self._random.random() < MOVE_SHARE:
            for _ in range(REDRAWS):
                parent = self._random.choice(parents)
                plan = parent.plan
                for _ in range(self._random.choice((1, 1, 2, 3))):
                    plan = self._mover.move(plan, self._random)
                if plan != parent.plan and self._space.key(plan) not in self._seen:
                    latent = redescribed(self._space, parent.latent, plan)
                    return self._note(Proposal(plan, f"move of {parent.number}", latent))
        for _ in range(REDRAWS):
            ticket, latent = self._sampler.ask()
            plan = self._space.decode(latent)
            if self._space.key(plan) not in self._seen:
                return self._note(Proposal(plan, "search", latent, ticket))
            self._sampler.reject(ticket)
        return None

    def _note(self, proposal: Proposal) -> Proposal:
        self._seen.add(self._space.key(proposal.plan))
        return proposal

    def _parents(self, points: Sequence[Worth]) -> list[Trial]:
        """Trials of the front that were trained, those within the limits twice: users look there."""
        taught = [p for p in points if p.trial.plan.recovery is not None]
        best = [taught[i] for i in non_dominated([p.cost for p in taught])]
        return [p.trial for p in best for _ in range(2 if p.fits else 1)]


def redescribed(space: Space, latent: Mapping[str, Value] | None, plan: Plan) -> dict[str, Value] | None:
    """Latent numbers for a plan that was made by a move, so that a sampler learns of what was tried.

    Bits and recovery are told as they are; of the channels, which no few numbers describe exactly, the width is scaled
    by what the move did to the channels kept in all.
    """
    if latent is None:
        return None
    found = dict(latent)
    for axis in space.axes:
        if isinstance(axis, BitsAxis):
            regions = [r for r in enumerate(axis.regions()) if r[1]]
            found |= {f"bits_{i}": str(plan.bits.get(region[0].name, 32)) for i, region in regions}
        elif isinstance(axis, RecoveryAxis) and plan.recovery is not None:
            values = vars(plan.recovery)
            found |= {name: values[name] for name in axis.parameters() if name in values}
            if "quantization" in found:
                found["quantization"] = "aware" if plan.recovery.quantization_aware else "post_training"
        elif isinstance(axis, ChannelAxis) and "width" in found:
            before = space.decode(latent).channels
            groups = [group for group, _ in axis.groups()]
            kept = [sum(c.get(g.name, g.channels) for g in groups) for c in (before, plan.channels)]
            width = axis.parameters()["width"]
            assert isinstance(width, Number)
            found["width"] = min(width.high, max(width.low, float(found["width"]) * kept[1] / kept[0]))
    return found
