"""Feasibility: what a study asks of a model, and whether a model meets it. Every such check is here."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property

from ..evaluators.measurement import Latency
from ..spaces.target import PerTarget
from ..studies.schema import StudySections

INTEREST_WIDTH = 0.3
"""Where the user's interest has fallen by half: so far below the budget, as a part of it."""
LEAST_INTEREST = 0.25
"""What is left of it far away, so that the front stays covered."""


@dataclass(frozen=True)
class Limits:
    """What a model must meet.

    A latency meets its budget when the upper end of its interval does. Before training, a plan is only stopped where
    the lower end is over: the longer measurement at the end decides about plans close to the budget.

    Attributes:
        targets: Names of the study's targets.
        budget_ms: Latency (ms) on every target without a budget of its own, None for any latency.
        on: Latency (ms) of the targets that have a budget of their own.
        percentile: Of latency: 50, 90, 95 or 99.
        max_mb: Largest file in megabytes (10^6 bytes), None for any size.
        min_accuracy: In the metric's own units, None for any.
    """

    targets: tuple[str, ...] = ()
    budget_ms: float | None = None
    on: PerTarget[float] = field(default_factory=dict)
    percentile: int = 50
    max_mb: float | None = None
    min_accuracy: float | None = None

    @classmethod
    def of(cls, settings: StudySections) -> Limits:
        """Return what a study asks of a model.

        Raises:
            StudyFileError: It has a budget on a target that it does not have.
        """
        settings.budgets()
        budget = settings.budget
        names = tuple(target.name for target in settings.target.targets())
        return cls(names, budget.latency_ms, budget.on, budget.percentile, budget.max_mb, budget.min_accuracy)

    @cached_property
    def budgets(self) -> PerTarget[float]:
        """Latency (ms) by target, of the targets that have a budget."""
        found = {name: self.on.get(name, self.budget_ms) for name in self.targets}
        return {name: limit for name, limit in found.items() if limit is not None}

    def changed(
        self, budget_ms: float | None = None, min_accuracy: float | None = None, max_mb: float | None = None
    ) -> Limits:
        """Return the limits with other values in place of those that are given; the others stay."""
        return replace(
            self,
            budget_ms=self.budget_ms if budget_ms is None else budget_ms,
            min_accuracy=self.min_accuracy if min_accuracy is None else min_accuracy,
            max_mb=self.max_mb if max_mb is None else max_mb,
        )

    def parts(self, latencies: PerTarget[Latency]) -> PerTarget[float]:
        """Return latency over budget, for each target with a budget; above 1 it is not met."""
        return {
            name: latency.at(self.percentile) / self.budgets[name]
            for name, latency in latencies.items()
            if name in self.budgets
        }

    def meets_latency(self, latencies: PerTarget[Latency]) -> bool:
        """Tell whether every latency meets its budget."""
        return all(part <= 1 for part in self.parts(latencies).values())

    def are_met(self, latencies: PerTarget[Latency], accuracy: float, size_bytes: float) -> bool:
        """Tell whether a model meets all limits.

        Args:
            latencies: Of its files.
            accuracy: Its metric.
            size_bytes: Of its largest file.
        """
        if not self.meets_latency(latencies):
            return False
        if self.min_accuracy is not None and accuracy < self.min_accuracy:
            return False
        return self.max_mb is None or size_bytes <= self.max_mb * 1e6

    def surely_missed(self, latencies: PerTarget[Latency], size_bytes: int) -> str:
        """Return why a shape cannot meet the limits whatever it learns, in one line; empty if it may."""
        for name, latency in latencies.items():
            limit, least = self.budgets.get(name), latency.least(self.percentile)
            if limit is not None and least > limit:
                where = f" on {name}" if len(self.targets) > 1 else ""
                return f"{least:.3g} ms or more{where}, over the budget of {limit:g} ms"
        if self.max_mb is not None and size_bytes > self.max_mb * 1e6:
            return f"{size_bytes / 1e6:.3g} MB, over the limit of {self.max_mb:g} MB"
        return ""

    def out_of_reach(self, name: str, fastest: Latency) -> bool:
        """Tell whether even the fastest latency on a target is surely over its budget."""
        return name in self.budgets and fastest.least(self.percentile) > self.budgets[name]

    def excess(self, latencies: PerTarget[Latency]) -> float | None:
        """Return the largest of measured / limit - 1 over the targets with a budget; None without any."""
        return max((part - 1 for part in self.parts(latencies).values()), default=None)

    def violation(self, latencies: PerTarget[Latency], size_bytes: int) -> float:
        """Return the largest of measured / limit - 1 over latency and size, for a sampler that is to learn of it."""
        excess = self.excess(latencies)
        found = [0.0] if excess is None else [excess]
        if self.max_mb is not None:
            found.append(size_bytes / (self.max_mb * 1e6) - 1)
        return max(found)

    def interest(self, latencies: PerTarget[Latency]) -> float:
        """Return how much the user looks where a model of these latencies lies; 1 without a budget.

        It is 1 just under the budget and falls to LEAST_INTEREST far below it and above it.
        """
        excess = self.excess(latencies)
        if excess is None:
            return 1.0
        if excess > 0:
            return max(LEAST_INTEREST, 1 - 10 * excess)
        return LEAST_INTEREST + (1 - LEAST_INTEREST) * math.pow(0.5, -excess / INTEREST_WIDTH)
