"""The front: the trials that no other trial beats, and what a user does with it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import BudgetError, StorageError, UsageError
from ...evaluators.latency import is_faster
from ..feasibility import Limits, after_drop, part_of
from ..pareto import non_dominated
from ..trial import Origin, Trial
from .entry import Confirmed, Entry
from .intact import model_paths, not_as_measured, told
from .intervals import Z95, Interval, MetricIntervals
from .picked import Picked, line

if TYPE_CHECKING:
    import pandas

SHOWN = 8
"""Models that `repr` lists at most."""


@dataclass(frozen=True, repr=False)
class Front:
    """All finished trials of a study, and among them those that no other beats.

    Attributes:
        folder: The study's folder.
        objectives: What the front trades off.
        trials: All trials that ended.
        confirmed: The longer looks, by trial number.
        limits: What the study asks of a model.
        any_of: Whether each model is for one of the targets, not for all of them.
        intervals: How sure the metric is.
        changed: Trials whose files are not those that were measured, or not yet on this machine, with the reason;
            nothing is shown of them.
    """

    folder: Path
    objectives: tuple[str, ...]
    trials: tuple[Trial, ...]
    confirmed: Mapping[int, Confirmed] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    any_of: bool = False
    intervals: MetricIntervals = field(default_factory=MetricIntervals)
    changed: Mapping[int, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Show the study, the front in a few lines, and what is best under the limits."""
        best = self.best
        lines = [f"<Front of {self.folder.name}: {len(best)} models of {len(self.trials)} trials"]
        lines += [f"  {line(entry)}" for entry in best[:SHOWN]]
        lines += [f"  and {len(best) - SHOWN} more"] if len(best) > SHOWN else []
        if self.fitting:
            lines.append(f"  best under the limits: trial {self.fitting[0].number}")
        return "\n".join(lines) + ">"

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the study's targets."""
        return self.limits.targets

    @cached_property
    def entries(self) -> list[Entry]:
        """Every finished trial, fastest first."""
        metric = self.limits.metric
        shown = [t for t in self.trials if t.finished and t.number not in self.changed]
        found = [Entry(t, self.confirmed.get(t.number), metric) for t in shown]
        return sorted(found, key=lambda e: e.latency.p50_ms)

    @cached_property
    def best(self) -> list[Entry]:
        """The front itself, fastest first."""
        points = [[e.cost(o) for o in self.objectives] for e in self.entries]
        return [self.entries[i] for i in non_dominated(points)]

    @property
    def teacher(self) -> Entry | None:
        """The teacher as it is, on the first target."""
        return next((e for name in self.targets for e in self._teachers if e.target == name), None)

    @cached_property
    def fitting(self) -> list[Entry]:
        """Finished trials that meet all that the study asks, best first; see `under`."""
        return self.under(self.limits)

    def paths(self, entry: Entry) -> dict[str, Path]:
        """Return the model files of an entry, by target.

        Raises:
            StorageError: A file is gone.
        """
        return model_paths(self.folder, entry)

    def under(self, limits: Limits) -> list[Entry]:
        """Return the finished trials that meet these limits, best first.

        That is the fastest of those that are as good as the best but for noise (see `is_better`); where the metric has
        a limit and latency has none, it is the fastest of all. A limit on the metric itself is held against the lower
        end of its interval, where that is known.
        """
        found = [e for e in self.entries if self.meets(e, limits)]
        if limits.min_accuracy is not None and not limits.budgets:
            return sorted(found, key=lambda e: (e.latency.p50_ms, -e.quality))
        best = max(found, key=lambda e: e.quality, default=None)
        tied = {e.number for e in found if best is not None and not self.is_better(best, e)}
        return sorted(
            found,
            key=lambda e: (e.number not in tied, 0.0 if e.number in tied else -e.quality, e.latency.p50_ms, -e.quality),
        )

    def meets(self, entry: Entry, limits: Limits) -> bool:
        """Tell whether a model meets limits, by the figures that models are chosen by; see `under`."""
        return limits.are_met(entry.latencies, entry.quality, entry.size_bytes, self.least(entry))

    def metric_interval(self, entry: Entry) -> Interval:
        """Return the metric on the validation split with its 95 % interval, in its own units."""
        return self.intervals.around(entry.quality, "validation", entry.quality_sd)

    def least(self, entry: Entry) -> float:
        """Return the metric at the worse end of its interval, as a search keeps it; itself where none is known."""
        found, metric = self.metric_interval(entry), self.limits.metric
        end = found.low if metric.maximized else found.high
        return entry.quality if end is None else metric.kept(end)

    def is_better(self, one: Entry, other: Entry) -> bool:
        """Tell whether the first's metric is better by more than noise; by anything where no noise is known.

        Two models of a study are scored on the same examples, so their difference is surer than that of two shares of
        different ones. How much surer is not kept: noise is a single standard error of such shares.
        """
        apart = self.intervals.difference(one.quality, other.quality, "validation", (one.quality_sd, other.quality_sd))
        end = apart.low if self.limits.metric.maximized else apart.high
        if end is None:
            return one.quality > other.quality
        return one.quality > other.quality and abs(apart.value) > abs(apart.value - end) / Z95

    @cached_property
    def indistinct(self) -> frozenset[int]:
        """Models of the front that cannot be told from the next faster one, by metric or by reported latency."""
        found = set()
        for faster, entry in itertools.pairwise(self.best):
            level = not self.is_better(entry, faster) and not self.is_better(faster, entry)
            tie = is_faster(faster.reported_latency, entry.reported_latency) == "tie"
            if level and tie and faster.target == entry.target:
                found.add(entry.number)
        return frozenset(found)

    def pick(
        self,
        budget_ms: float | None = None,
        min_accuracy: float | None = None,
        max_mb: float | None = None,
        max_drop: str | None = None,
        speedup: float | None = None,
        max_size: str | None = None,
        policy: str | None = None,
    ) -> Picked:
        """Return the best model that meets the study's limits; see `under`.

        Args:
            budget_ms: Latency (ms) in place of the study's own, on targets without a budget of their own.
            min_accuracy: Least metric on the validation split (the most of one that is minimized), in place of the
                study's own.
            max_drop: Of the metric below the teacher's, such as "1%", in place of the study's own; with `min_accuracy`,
                the stricter counts.
            max_mb: Largest file in megabytes, in place of the study's own.
            speedup: How many times faster than the teacher, in place of any latency.
            max_size: Largest file as a part of the teacher's, such as "25%"; with `max_mb`, the stricter counts.
            policy: What is best: "accuracy", "fastest", "smallest" or "knee" (see `policy`); None goes by `under`.

        Raises:
            BudgetError: No model meets them; names the closest model, the limit that binds, and what would do.
            UsageError: There is no such policy.
        """
        from .explain import not_near
        from .policy import choose

        limits = self.asked(budget_ms, min_accuracy, max_mb, max_drop, speedup, max_size)
        found = self.under(limits)
        chosen = next(iter(found), None) if policy is None else choose(self, policy, limits)
        if chosen is None:
            raise BudgetError(self.explain(limits) if not found else not_near(self.teacher, found))
        if reason := not_as_measured(self.folder, chosen):
            others = self.without({chosen.number: reason})
            return others.pick(budget_ms, min_accuracy, max_mb, max_drop, speedup, max_size, policy)
        return Picked(self, chosen, limits, policy)

    def trial(self, number: int) -> Picked:
        """Return the model of a trial, whether it meets the study's limits or not.

        Raises:
            UsageError: There is no such finished trial.
            StorageError: Its file is not the one that was measured.
        """
        found = next((entry for entry in self.entries if entry.number == number), None)
        if found is None:
            known = ", ".join(str(n) for n in sorted(e.number for e in self.entries)) or "none"
            reason = self.changed.get(number)
            if reason is not None:
                raise StorageError(reason)
            raise UsageError(f"{self.folder} has no finished trial {number}; finished: {known}")
        if reason := not_as_measured(self.folder, found):
            raise StorageError(reason)
        return Picked(self, found)

    def asked(
        self,
        budget_ms: float | None = None,
        min_accuracy: float | None = None,
        max_mb: float | None = None,
        max_drop: str | None = None,
        speedup: float | None = None,
        max_size: str | None = None,
    ) -> Limits:
        """Return the study's limits with others in place of some of them; see `pick`.

        Raises:
            BudgetError: A limit is against the teacher, which was not measured yet.
            UsageError: A limit is no number that could be met.
        """
        for name, value in (("budget_ms", budget_ms), ("max_mb", max_mb), ("speedup", speedup)):
            if value is not None and not 0 < value < math.inf:
                raise UsageError(f"{name} = {value:g}; allowed: a number above 0")
        if min_accuracy is not None and not math.isfinite(min_accuracy):
            raise UsageError(f"min_accuracy = {min_accuracy:g}; allowed: a finite number")
        limits = self.limits.changed(budget_ms, min_accuracy, max_mb)
        if speedup is not None:
            on = {name: found.p50_ms / speedup for e in self._teachers for name, found in e.latencies.items()}
            if not on:
                raise BudgetError("speedup is against the teacher, which was not measured yet: search on")
            limits = replace(limits, budget_ms=None, on=on, relative=dict.fromkeys(on, 1 / speedup))
        if max_drop is not None:
            if self.teacher is None:
                raise BudgetError("max_drop is against the teacher, which was not measured yet: search on")
            floor = after_drop(self.teacher.quality, str(max_drop))  # from Python, 0.01 is a number
            given = limits.min_accuracy if min_accuracy is not None else None
            sure = limits.sure_accuracy if min_accuracy is not None else None
            floor = floor if given is None else max(floor, given)
            limits = replace(limits, min_accuracy=floor, sure_accuracy=sure)
        if max_size is not None:
            if self.teacher is None:
                raise BudgetError("max_size is against the teacher, which was not measured yet: search on")
            most = self.teacher.size_bytes / 1e6 * part_of(str(max_size))
            limits = replace(limits, max_mb=most if max_mb is None else min(most, max_mb))
        return limits

    def explain(self, limits: Limits) -> str:
        """Return why no model meets the limits: the closest one, what binds, and the nearest relaxations."""
        from .explain import explain, none_finished

        if not self.entries:
            left_out = f"no model is left to choose from: {told(self.changed)[0]}" if self.changed else ""
            return left_out or none_finished(self.trials)
        return explain(self.entries, limits, self.least)

    def with_confirmed(self, confirmed: Mapping[int, Confirmed]) -> Front:
        """Return the same front with longer looks."""
        return replace(self, confirmed={**self.confirmed, **confirmed})

    def without(self, changed: Mapping[int, str]) -> Front:
        """Return the same front without these trials, whose files are not those that were measured."""
        return replace(self, changed={**self.changed, **changed})

    def to_pandas(self) -> pandas.DataFrame:
        """Return one row for each trial, ended in whatever way; every decision is a column.

        The outcome of trials in `changed` is "left out", and nothing that was measured of them is told.
        """
        from .frame import to_frame

        best = frozenset(e.number for e in self.best)
        return to_frame(self.trials, self.confirmed, best, self.limits.metric, self.changed)

    @cached_property
    def _teachers(self) -> list[Entry]:
        return [e for e in self.entries if e.trial.origin is Origin.TEACHER]
