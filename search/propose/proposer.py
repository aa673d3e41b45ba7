"""The proposer: what is tried next.

Plans left over from an interrupted run come first, then the initial design, in turn with a learned model of accuracy
as soon as that has enough to learn from. After it, the model, a sampler over few numbers and designs by role propose,
each as often as its trials lately gained. Before each of these, plans that share a training which was done are asked
for, where they promise more for their price. What is predicted to miss the budget is dropped before it is built.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from ...evaluators.latency_model import LatencyLearner
from ...spaces.plan import Plan
from ...spaces.space import Space
from ...spaces.surrogates import Surrogates
from ...spaces.target import PerTarget
from ..feasibility import Limits
from ..trial import Origin, Trial
from .baselines import Baselines
from .by_hand import Design
from .learned.source import LearnedSource
from .planned import Planned
from .proposal import Arm, Proposal
from .solved import BUDGET, same_budget
from .sources import COMPOUND, EXPECTED, LEVELS, Gains, Sources, source_of

REDRAWS = 60
"""Draws before the space counts as exhausted."""
SLACK = 3.0
"""A plan is dropped where it is predicted to be over the budget by more than this many times the usual error."""
LEAST_SLACK = 0.05
"""And by more than this part of it: the gate that would decide costs a second, a good plan left out costs more."""


class Proposer:
    """Proposes plans; never one plan twice."""

    def __init__(
        self,
        space: Space,
        arm: Arm | None,
        seed: int,
        design: Sequence[Design] = (),
        surrogates: Surrogates | None = None,
        budgets: PerTarget[float] | None = None,
        baselines: Baselines | None = None,
        learned: LearnedSource | None = None,
        levels: Sequence[Plan] = (),
        limit: float | None = None,
        floor: float | None = None,
        compound: Arm | None = None,
    ) -> None:
        """Propose plans of `space`.

        Args:
            space: What is searched.
            arm: An encoding with its sampler, None to do without.
            seed: Of all random choices.
            design: What every study begins with.
            surrogates: What is known of the space.
            budgets: Latency (ms), of the targets that have a budget.
            baselines: What is made by hand because the user asked for it.
            learned: Proposals led by a model of accuracy.
            levels: Uniform designs that give each role a level, in the order in which they are worth a trial.
            limit: Largest latency (ms of the first target) or size (bytes) that counts as a gain; None for any.
            floor: Largest cost of the metric that does; None for any.
            compound: An encoding of networks that are scaled as a whole, with its sampler; None to do without.
        """
        self._space, self._arm, self._compound = space, arm, compound
        self._surrogates, self._budgets = surrogates or Surrogates(), dict(budgets or {})
        self._learned = learned
        self._levels = deque(levels)
        self._sources = Sources({n: gain for n, gain in EXPECTED.items() if compound is not None or n != COMPOUND})
        self._gains = Gains(limit, floor)
        self._baselines = baselines or Baselines(space, self._surrogates, self._budgets, (), Limits())
        self._random = random.Random(seed)
        self._seen: set[str] = set()
        self._over: tuple[float, Proposal] | None = None
        self._model_is_next = False
        self._queue = Planned(space, map(Proposal.of, design))

    def know(self, trials: Sequence[Trial], interrupted: Sequence[Trial]) -> None:
        """Take in what an earlier run of this study proposed.

        Designs for budgets that it had designs for are not proposed anew, though more may be known by now.

        Args:
            trials: Those that ended or wait.
            interrupted: Those that were running; they come first again.
        """
        before = [t.latent for t in (*trials, *interrupted) if t.origin is Origin.DESIGN]
        self._queue.drop(lambda p: p.origin is Origin.DESIGN and any(same_budget(p.latent, known) for known in before))
        self._random.seed(f"{self._random.random()}/{len(trials)}")
        self._seen.update(trial.spec.key() for trial in trials if not trial.technique)
        self.take_up(interrupted)

    def take_up(self, interrupted: Sequence[Trial]) -> None:
        """Propose trials that were running when their driver ended before all else."""
        for trial in interrupted:
            self._baselines.begun(trial.plan, trial.after)
        for trial in reversed(interrupted):
            self._queue.put_first(Proposal.again(trial))

    def note_others(self, trials: Sequence[Trial]) -> None:
        """Take in trials of other drivers of the study, which are not proposed here any more."""
        for trial in trials:
            if not trial.technique:
                self._seen.add(trial.spec.key())
            self._baselines.begun(trial.plan, trial.after)
            self._queue.begun(trial.plan)

    def others_try(self, trials: Sequence[Trial]) -> None:
        """Take in all that other drivers try now: what is proposed here shall add to what these may come to."""
        self.note_others(trials)
        if self._learned is not None:
            self._learned.others_try([trial.plan for trial in trials if not trial.technique])

    @property
    def opening(self) -> bool:
        """Whether plans of the initial design, or techniques that the user asked for, are still to come."""
        return bool(self._queue) or self._baselines.first() is not None

    def propose(self) -> Proposal | None:
        """Return the next plan; None when nothing new can be drawn from this space."""
        while self._queue:
            if (other := self._before(self._queue.next)) is not None:
                return other
            proposal = self._queue.take()
            # what one would do by hand is measured whatever its latency: it shows what the search is worth
            own = proposal.number is None and not proposal.origin.by_hand
            if proposal.number is None and proposal.origin.by_hand and self._baselines.has_begun(proposal.plan):
                continue
            known = proposal.number is None and self._key(proposal.plan) in self._seen
            if known or (own and self._predicted_over(proposal.plan) > 1):
                continue
            if own and BUDGET in (proposal.latent or {}) and not self._guide_fits:
                continue
            return self._note(proposal)
        if (design := self._baselines.first() or self._baselines.further()) is not None:
            return self._note(Proposal.of(design))
        if (shared := self.share()) is not None:
            return shared
        self._over = None
        ways: dict[str, Callable[[], Proposal | None]] = {"sampler": self._anywhere}
        if self._arm is not None:
            ways["sampler"] = partial(self._drawn, self._arm)
        if self._compound is not None:
            ways[COMPOUND] = partial(self._drawn, self._compound)
        if self._learned is not None and self._learned.ready:
            ways["learned"] = partial(self._learned.propose, self._is_new)
        if self._levels:
            ways["levels"] = self._leveled
        for _ in range(REDRAWS):
            drawn = ways[self._sources.draw(list(ways), self._random)]()
            if drawn is not None:
                return self._note(drawn)
        for _ in range(REDRAWS):
            if (drawn := self._anywhere()) is not None:
                return self._note(drawn)
        # nothing is predicted to keep the budget: the gate decides on what comes closest
        return None if self._over is None else self._note(self._over[1])

    def share(self, late: bool = False) -> Proposal | None:
        """Return a plan that takes over a training that was done, where that promises more for its price than another.

        Args:
            late: Whether there is no time for a training, near the end of a search.
        """
        shared = self._learned.share(self._is_new, late) if self._learned is not None else None
        return None if shared is None else self._note(shared)

    def measured(self, trial: Trial) -> None:
        """Let what predicts latency learn from the gate of a trial."""
        for name, latency in trial.gate.items():
            surrogate = self._surrogates.latency.get(name)
            # predictions know nothing of adapters, which a way to teach leaves in a file
            if isinstance(surrogate, LatencyLearner) and trial.spec.structure().recovery is None:
                surrogate.add(trial.spec, latency.p50_ms)
        if self._learned is not None:
            self._learned.measured(trial)

    def learn(
        self, trial: Trial, costs: Sequence[float] | None, violation: float | None, proposal: Proposal | None
    ) -> None:
        """Let the samplers learn what became of a trial.

        Args:
            trial: The trial.
            costs: Its objectives, lower is better; None while nothing is known of them.
            violation: measured / limit - 1, of a trial that the samplers are to learn to avoid.
            proposal: What the trial began with, where this run proposed it.
        """
        self._baselines.note(trial)
        self._queue.heard(trial.spec, trial.finished)
        self._let_learn(trial, costs)
        if trial.technique:
            return  # the search takes nothing over from what was made to be compared with it
        for arm in filter(None, (self._arm, self._compound)):
            arm.learn(trial, costs, violation, proposal)

    def _let_learn(self, trial: Trial, costs: Sequence[float] | None) -> None:
        if self._learned is None or trial.technique:
            return
        found = self._learned.learn(trial, costs)
        if found is not None and trial.finished:
            gain = self._gains.of(*found)
            self._sources.credit(source_of(trial), gain)
            self._learned.gained(trial, gain)

    def _note(self, proposal: Proposal) -> Proposal:
        if not proposal.technique:
            self._seen.update(self._key(plan) for plan in (proposal.plan, *proposal.others))
        self._baselines.begun(proposal.plan, proposal.after)
        self._queue.begun(proposal.plan)
        return proposal

    def _key(self, plan: Plan) -> str:
        """Return the key of what a plan does: several plans may do the same."""
        return self._space.spec(plan).key()

    def _is_new(self, proposal: Proposal) -> bool:
        """Tell whether the plan was never proposed, and may meet the budgets as far as is known."""
        if self._key(proposal.plan) in self._seen:
            return False
        over = self._predicted_over(proposal.plan)
        if over > 1 and (self._over is None or over < self._over[0]):
            self._over = over, replace(proposal, ticket=None)
        return over <= 1

    def _predicted_over(self, plan: Plan) -> float:
        """Return the largest part of what a budget and the usual error allow; above 1 a plan is surely over."""
        found = 0.0
        spec = self._space.spec(plan)
        for name, limit in self._budgets.items():
            surrogate = self._surrogates.latency.get(name)
            if surrogate is not None and spec.target in ("", name):
                allowed = limit * (1 + max(LEAST_SLACK, SLACK * surrogate.relative_error))
                found = max(found, surrogate.predict_ms(spec) / allowed)
        return found

    def _drawn(self, arm: Arm) -> Proposal | None:
        """Return what an arm's sampler draws, None where that is not new."""
        proposal = arm.draw()
        if self._is_new(proposal):
            return proposal
        arm.give_back(proposal)
        return None

    def _anywhere(self) -> Proposal | None:
        """Return a plan between the teacher and a level, each decision drawn by itself; None where it is not new."""
        level = self._random.random()
        rows = [[i for i, option in enumerate(v.options) if option in v.drawn] for v in self._space.network]
        drawn = [row[round(self._random.uniform(0, level) * (len(row) - 1))] for row in rows]
        proposal = Proposal(self._space.assemble(drawn, self._space.taught), Origin.SEARCH, "search", None)
        return proposal if self._is_new(proposal) else None

    @property
    def _guide_fits(self) -> bool:
        return self._learned is None or self._learned.guide_fits

    def _before(self, queued: Proposal) -> Proposal | None:
        """Return what is tried before this plan of the queue; nothing where it shares the training of the last one."""
        if queued.number is not None:
            return None
        if (design := self._baselines.first()) is not None:
            return self._note(Proposal.of(design))
        if self._queue.follows:
            return None
        if (shared := self.share()) is not None:
            return shared
        if self._learned is None or not self._learned.ready:
            return None
        self._model_is_next = not self._model_is_next  # every other time that it is asked
        led = self._learned.propose(self._is_new) if self._model_is_next else None
        return None if led is None else self._note(led)

    def _leveled(self) -> Proposal | None:
        if not self._levels:
            return None
        proposal = Proposal(self._levels.popleft(), Origin.SEARCH, LEVELS, None)
        return proposal if self._is_new(proposal) else None

    def choose(self, trials: Sequence[Trial]) -> int:
        """Return the number of the trial to go on with, of trials with measured shapes."""
        best = 0 if self._learned is None else self._learned.choose(trials)
        # what was measured and not chosen may be proposed again
        self._seen -= {t.spec.key() for t in trials}
        self._seen.add(trials[best].spec.key())
        return best
