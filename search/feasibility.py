"""Feasibility: what a study asks of a model, and whether a model meets it. Every such check is here."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property

from ..errors import UsageError
from ..evaluators.measurement import Latency
from ..spaces.target import PerTarget
from ..studies.metric import ACCURACY, MetricLabel
from ..studies.schema import StudySections
from .store.facts import TaskFacts

INTEREST_WIDTH = 0.3
"""Where the user's interest has fallen by half: so far below the budget, as a part of it."""
METRIC_WIDTH = 0.1
"""The same for a limit on the metric."""
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
        min_accuracy: As a search keeps the metric (higher is better), None for any.
        metric: How the metric is shown.
    """

    targets: tuple[str, ...] = ()
    budget_ms: float | None = None
    on: PerTarget[float] = field(default_factory=dict)
    percentile: int = 50
    max_mb: float | None = None
    min_accuracy: float | None = None
    metric: MetricLabel = ACCURACY

    @classmethod
    def of(cls, settings: StudySections, facts: TaskFacts | None = None) -> Limits:
        """Return what a study asks of a model.

        Args:
            settings: The study's settings.
            facts: What is known of its task. A drop from the teacher counts once the teacher's metric is known.

        Raises:
            StudyFileError: It has a budget on a target that it does not have.
        """
        settings.budgets()
        budget = settings.budget
        names = tuple(target.name for target in settings.target.targets())
        facts = facts or TaskFacts()
        floors = [] if budget.min_accuracy is None else [facts.metric.kept(budget.min_accuracy)]
        if budget.max_drop is not None and facts.teacher is not None:
            floors.append(after_drop(facts.teacher, budget.max_drop))
        least = max(floors, default=None)
        return cls(names, budget.latency_ms, budget.on, budget.percentile, budget.max_mb, least, facts.metric)

    @cached_property
    def budgets(self) -> PerTarget[float]:
        """Latency (ms) by target, of the targets that have a budget."""
        found = {name: self.on.get(name, self.budget_ms) for name in self.targets}
        return {name: limit for name, limit in found.items() if limit is not None}

    def changed(
        self, budget_ms: float | None = None, min_accuracy: float | None = None, max_mb: float | None = None
    ) -> Limits:
        """Return the limits with other values in place of those that are given; the others stay.

        Args:
            budget_ms: Latency (ms).
            min_accuracy: In the metric's own units: the least that is allowed, or the most of one that is minimized.
            max_mb: Size (MB).
        """
        return replace(
            self,
            budget_ms=self.budget_ms if budget_ms is None else budget_ms,
            min_accuracy=self.min_accuracy if min_accuracy is None else self.metric.kept(min_accuracy),
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
            accuracy: Its metric as a search keeps it: higher is better.
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

    def interest(self, latencies: PerTarget[Latency], quality: float | None = None) -> float:
        """Return how much the user looks where a model lies; 1 without limits on latency and metric.

        It is 1 where the limits are just met, and falls to LEAST_INTEREST far from them on either side.

        Args:
            latencies: Of the model.
            quality: Its metric as a search keeps it, None where it is not known.
        """
        found = 1.0
        excess = self.excess(latencies)
        if excess is not None:
            found *= _nearness(excess, INTEREST_WIDTH)
        if quality is not None and self.min_accuracy is not None:
            lack = (self.min_accuracy - quality) / max(abs(self.min_accuracy), 1e-9)
            found *= _nearness(lack, METRIC_WIDTH)
        return max(LEAST_INTEREST, found)


def _nearness(excess: float, width: float) -> float:
    if excess > 0:
        return max(LEAST_INTEREST, 1 - 10 * excess)
    return LEAST_INTEREST + (1 - LEAST_INTEREST) * math.pow(0.5, -excess / width)


def after_drop(teacher: float, drop: str) -> float:
    """Return the least metric, as a search keeps it, that is a drop below the teacher's.

    Args:
        teacher: The teacher's metric as a search keeps it: higher is better.
        drop: "1%" of the teacher's metric, "1pt" (a hundredth, of metrics from 0 to 1), or a number in the metric's own
            units.

    Raises:
        UsageError: It is none of these.
    """
    for suffix, scale in (("%", abs(teacher) / 100), ("pt", 0.01), ("", 1.0)):
        if drop.endswith(suffix):
            try:
                number = float(drop.removesuffix(suffix))
            except ValueError:
                break
            if 0 <= number < float("inf"):
                return teacher - number * scale
            break
    raise UsageError(
        f"max_drop = {drop!r}; allowed: a part of the teacher's metric (1%), points (1pt) or a number (0.01)"
    )
