"""What a study's settings say of its trials: which end at the gate, what their objectives cost, where they stand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import quantiles

from ..evaluators.measurement import Latency
from ..studies.schema import BudgetSection
from .objectives import costs_of, gate_latency, is_latency
from .promotion import Standing
from .trial import Trial


@dataclass(frozen=True)
class Rules:
    """targets: names, the first one first. budgets: latency (ms) by target. objectives: see `objectives`. rungs:
    fractions of a full recovery, the last 1. examples: validation images looked at after a rung; look_examples: before
    any training; file_examples: those that a file is judged on. eta: one of so many goes on from a rung; 1 lets
    everyone go on. first_looks: whether a look before any training may decide who is trained. inherits: whether
    students may begin with a neighbour's weights. max_trials: in this run."""

    budget: BudgetSection
    targets: tuple[str, ...]
    budgets: Mapping[str, float]
    objectives: tuple[str, ...]
    rungs: tuple[float, ...]
    examples: int
    look_examples: int
    file_examples: int
    learn_from_gated: bool
    max_trials: int | None = None
    eta: int = 2
    first_looks: bool = True
    inherits: bool = True

    @property
    def halves(self) -> bool:
        """Whether students wait at rungs. A compressed size is known at the end only: where it counts nobody can be
        compared before."""
        return self.eta > 1 and "accuracy" in self.objectives and "compressed_bytes" not in self.objectives

    def over(self, trial: Trial, latencies: Mapping[str, Latency]) -> str:
        """Why the plan cannot meet the study's limits, empty if it may. The lower end of the interval counts here:
        only the longer measurement at the end decides about plans close to the budget. What a user would do by hand
        is never stopped: it shows what the search is worth."""
        if trial.baseline:
            return ""
        for name, latency in latencies.items():
            limit = self.budgets.get(name)
            tail = latency.at(self.budget.percentile) * latency.low_ms / latency.high_ms
            if limit is not None and tail > limit:
                where = f" on {name}" if len(self.targets) > 1 else ""
                return f"{tail:.3g} ms or more{where}, over the budget of {limit:g} ms"
        max_mb = self.budget.max_mb
        if max_mb is not None and trial.gate_bytes > max_mb * 1e6:
            return f"{trial.gate_bytes / 1e6:.3g} MB, over the limit of {max_mb:g} MB"
        return ""

    def gates(self, trial: Trial) -> dict[str, Latency]:
        """Latency of a trial's shape by target."""
        if trial.gate is None:
            return {}
        return {trial.plan.target or self.targets[0]: trial.gate, **trial.gate_elsewhere}

    def excess(self, trial: Trial) -> float | None:
        """The largest of measured / limit - 1 over the targets with a budget; None without any."""
        found = [
            latency.at(self.budget.percentile) / self.budgets[name] - 1
            for name, latency in self.gates(trial).items()
            if name in self.budgets
        ]
        return max(found, default=None)

    def violation(self, trial: Trial) -> float:
        """The largest of measured / limit - 1 over latency and size, for a sampler that is to learn of it."""
        found = [0.0] if (excess := self.excess(trial)) is None else [excess]
        if self.budget.max_mb is not None:
            found.append(trial.gate_bytes / (self.budget.max_mb * 1e6) - 1)
        return max(found)

    def examples_at(self, level: int) -> int:
        """Images behind an accuracy after `level` rungs."""
        return self.examples if level else self.look_examples

    def standing(self, trial: Trial, level: int) -> Standing:
        """Where a trial stands after `level` rungs, 0 being the look before training."""
        known = {o: gate_latency(o, trial).p50_ms for o in self.objectives if is_latency(o)}
        known["size_bytes"] = float(trial.gate_bytes)
        cost = tuple(known[o] for o in self.objectives if o in known)
        if level == 0:
            assert trial.first_look is not None
            return Standing(trial.number, trial.first_look, cost, weight=self.interest(trial))
        rise = trial.rungs[level - 1] - trial.rungs[level - 2] if level > 1 else None
        return Standing(trial.number, trial.rungs[level - 1], cost, rise, self.interest(trial))

    def interest(self, trial: Trial) -> float:
        """How much the user looks where this trial lies, 1 without a budget. See `interest`."""
        excess = self.excess(trial)
        return 1.0 if excess is None else interest(excess)

    def costs(self, trial: Trial, ended: Sequence[Trial]) -> list[float] | None:
        """A trial's objectives, lower is better; None while they are not known. Of one that waits or was stopped, the
        accuracy so far with what most of those that went on have gained from there on."""
        if trial.measurement is not None:
            return costs_of(self.objectives, trial.measurement)
        if (
            trial.outcome == "failed"
            or not trial.rungs
            or not all(o == "accuracy" or is_latency(o) for o in self.objectives)
        ):
            return None
        known = {o: gate_latency(o, trial).p50_ms for o in self.objectives if is_latency(o)}
        at = len(trial.rungs) - 1
        gains = [t.rungs[-1] - t.rungs[at] for t in ended if len(t.rungs) == len(self.rungs)]
        gain = max(0.0, quantiles(gains, n=4)[0]) if len(gains) > 3 else 0.0
        hoped = trial.rungs[-1] + gain
        accuracy = min(1.0, hoped) if trial.rungs[-1] <= 1 else hoped
        return [-accuracy if o == "accuracy" else known[o] for o in self.objectives]


INTEREST_WIDTH = 0.3
"""Where the user's interest has fallen by half: so far below the budget, as a part of it."""
LEAST_INTEREST = 0.25
"""What is left of it far away, so that the front stays covered."""


def interest(excess: float) -> float:
    """How much a user with a budget looks at a plan whose latency is (1 + excess) times it: 1 just under the budget,
    falling to a quarter far below it and above it."""
    if excess > 0:
        return max(LEAST_INTEREST, 1 - 10 * excess)
    return LEAST_INTEREST + (1 - LEAST_INTEREST) * math.pow(0.5, -excess / INTEREST_WIDTH)
