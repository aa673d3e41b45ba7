"""Feasibility: what a study asks of a model, and whether a model meets it. Every such check is here."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property

from ..errors import UsageError
from ..evaluators.latency import own_disturbances
from ..evaluators.measurement import Latency, plain_figure
from ..spaces.target import PerTarget
from ..studies.metric import ACCURACY, MetricLabel
from ..studies.schema import StudySections
from .store.facts import TaskFacts

DISTURBED_LEEWAY = 1.25
"""So many times over its budget a latency must be, while other work was seen, to be surely over it."""
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
        sure_accuracy: The same, where the metric itself was asked for: the lower end of its interval must reach it. A
            limit against the teacher is held against the figure: both are measured on the same examples, and how sure
            the difference of two models on the same examples is, is not kept.
        metric: How the metric is shown.
        relative: The part of the teacher's median that a budget in `on` is, by target, where it is one. It is held
            against the measured ratio, whose interval is narrower than that of milliseconds.
    """

    targets: tuple[str, ...] = ()
    budget_ms: float | None = None
    on: PerTarget[float] = field(default_factory=dict)
    percentile: int = 50
    max_mb: float | None = None
    min_accuracy: float | None = None
    metric: MetricLabel = ACCURACY
    relative: PerTarget[float] = field(default_factory=dict)
    sure_accuracy: float | None = None

    @classmethod
    def of(cls, settings: StudySections, facts: TaskFacts | None = None) -> Limits:
        """Return what a study asks of a model.

        Args:
            settings: The study's settings.
            facts: What is known of its task. Limits against the teacher count once the teacher was measured.

        Raises:
            StudyFileError: It has a budget on a target that it does not have.
        """
        settings.budgets()
        budget = settings.budget
        names = tuple(target.name for target in settings.target.targets())
        facts = facts or TaskFacts()
        sure = None if budget.min_accuracy is None else facts.metric.kept(budget.min_accuracy)
        floors = [] if sure is None else [sure]
        if budget.max_drop is not None and facts.teacher is not None:
            floors.append(after_drop(facts.teacher, budget.max_drop))
        least, on, sizes = max(floors, default=None), dict(budget.on), [budget.max_mb]
        relative: dict[str, float] = {}
        if budget.latency_part is not None:
            relative = {name: budget.latency_part for name in facts.teacher_ms if name not in on}
            on |= {name: facts.teacher_ms[name] * part for name, part in relative.items()}
        if budget.size_part is not None and facts.teacher_bytes is not None:
            sizes.append(facts.teacher_bytes * budget.size_part / 1e6)
        size = min((mb for mb in sizes if mb is not None), default=None)
        return cls(names, budget.latency_ms, on, budget.percentile, size, least, facts.metric, relative, sure)

    @cached_property
    def budgets(self) -> PerTarget[float]:
        """Latency (ms) by target, of the targets that have a budget."""
        found = {name: self.on.get(name, self.budget_ms) for name in self.targets}
        return {name: limit for name, limit in found.items() if limit is not None}

    @property
    def any(self) -> bool:
        """Whether anything is asked of a model."""
        return bool(self.budgets) or self.min_accuracy is not None or self.max_mb is not None

    def in_words(self) -> list[str]:
        """Return each limit in a few words."""
        of = "the teacher's" if self.percentile == 50 else "the teacher's median"
        parts = {name: f" ({100 * part:.3g} % of {of})" for name, part in self.relative.items()}
        budgets = {name: f"{plain_figure(ms, 4)} ms{parts.get(name, '')}" for name, ms in self.budgets.items()}
        if len(set(budgets.values())) == 1 and len(budgets) == len(self.targets):
            found = [f"p{self.percentile} budget {next(iter(budgets.values()))}"]
        else:
            found = [f"p{self.percentile} budget on {name} {words}" for name, words in budgets.items()]
        if self.min_accuracy is not None:
            side = "at least" if self.metric.maximized else "at most"
            found.append(f"{self.metric.name} {side} {self.metric.text(self.min_accuracy)}")
        if self.max_mb is not None:
            found.append(f"at most {plain_figure(self.max_mb)} MB")
        return found

    def changed(
        self, budget_ms: float | None = None, min_accuracy: float | None = None, max_mb: float | None = None
    ) -> Limits:
        """Return the limits with other values in place of those that are given; the others stay.

        Args:
            budget_ms: Latency (ms).
            min_accuracy: In the metric's own units: the least that is allowed, or the most of one that is minimized.
            max_mb: Size (MB).
        """
        absolute = self
        if budget_ms is not None:
            on = {name: ms for name, ms in self.on.items() if name not in self.relative}
            absolute = replace(self, budget_ms=budget_ms, on=on, relative={})
        if min_accuracy is not None:
            asked = self.metric.kept(min_accuracy)
            absolute = replace(absolute, min_accuracy=asked, sure_accuracy=asked)
        return replace(
            absolute,
            max_mb=self.max_mb if max_mb is None else max_mb,
        )

    def parts(self, latencies: PerTarget[Latency]) -> PerTarget[float]:
        """Return latency over budget, for each target with a budget; above 1 it is not met."""
        found = {}
        for name, latency in latencies.items():
            if name in self.relative:
                found[name] = latency.ratio_at(self.percentile) / self.relative[name]
            elif name in self.budgets:
                found[name] = latency.at(self.percentile) / self.budgets[name]
        return found

    def meets_latency(self, latencies: PerTarget[Latency]) -> bool:
        """Tell whether every latency meets its budget."""
        return all(part <= 1 for part in self.parts(latencies).values())

    def are_met(
        self, latencies: PerTarget[Latency], accuracy: float, size_bytes: float, least: float | None = None
    ) -> bool:
        """Tell whether a model meets all limits.

        Args:
            latencies: Of its files.
            accuracy: Its metric as a search keeps it: higher is better.
            size_bytes: Of its largest file.
            least: The lower end of its metric's interval; the metric itself if None.
        """
        if not self.meets_latency(latencies) or self.is_poor(accuracy, least):
            return False
        return self.max_mb is None or size_bytes <= self.max_mb * 1e6

    def is_poor(self, accuracy: float, least: float | None = None) -> bool:
        """Tell whether a metric misses its limit; see `are_met`."""
        if self.min_accuracy is not None and accuracy < self.min_accuracy:
            return True
        return self.sure_accuracy is not None and (accuracy if least is None else least) < self.sure_accuracy

    def surely_missed(self, latencies: PerTarget[Latency], size_bytes: int) -> str:
        """Return why a shape cannot meet the limits whatever it learns, in one line; empty if it may."""
        for name, latency in latencies.items():
            if self.out_of_reach(name, latency):
                where = f" on {name}" if len(self.targets) > 1 else ""
                least = self.held_ms(name, latency)[0]
                budget = plain_figure(self.budgets[name], 4)
                return f"{plain_figure(least, 4)} ms or more{where}, over the budget of {budget} ms"
        if self.max_mb is not None and size_bytes > self.max_mb * 1e6:
            return f"{plain_figure(size_bytes / 1e6, 4)} MB, over the limit of {plain_figure(self.max_mb, 4)} MB"
        return ""

    def out_of_reach(self, name: str, fastest: Latency) -> bool:
        """Tell whether even the fastest latency on a target is surely over its budget."""
        leeway = DISTURBED_LEEWAY if own_disturbances(fastest) else 1.0
        return name in self.budgets and self.held_ms(name, fastest)[0] / leeway > self.budgets[name]

    def held_ms(self, name: str, latency: Latency) -> tuple[float, float, float]:
        """Return what is held against a target's budget (ms): the lower end, the figure itself, and the upper end.

        For a budget that is a part of the teacher's latency it is in that budget's milliseconds.
        """
        tail = self.percentile
        if name not in self.relative:
            return latency.least(tail), latency.percentile_ms(tail), latency.at(tail)
        scale = self.budgets[name] / self.relative[name]
        return latency.least_ratio(tail) * scale, latency.percentile_ratio(tail) * scale, latency.ratio_at(tail) * scale

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


def part_of(text: str) -> float:
    """Return the part that a percentage of the teacher's figure is, such as "25%".

    Raises:
        UsageError: It is none.
    """
    try:
        part = float(text.removesuffix("%")) / 100 if text.endswith("%") else math.nan
    except ValueError:
        part = math.nan
    if not 0 < part < math.inf:
        raise UsageError(f"max_size = {text!r}; allowed: a part of the teacher's above 0, such as 25%")
    return part
