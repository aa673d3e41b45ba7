"""The front: the trials that no other trial beats, and what a user does with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import BudgetError, StorageError, UsageError
from ...remarks import remark
from ..feasibility import Limits, after_drop, part_of
from ..pareto import non_dominated
from ..store.layout import trial_folder
from ..trial import Origin, Trial
from .entry import Confirmed, Entry

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
    """

    folder: Path
    objectives: tuple[str, ...]
    trials: tuple[Trial, ...]
    confirmed: Mapping[int, Confirmed] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    any_of: bool = False

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
        """Every finished trial whose files are there, fastest first."""
        metric, kept = self.limits.metric, (self.folder / "trials").is_dir()
        there = [t for t in self.trials if t.finished and not (kept and self._is_gone(t))]
        found = [Entry(t, self.confirmed.get(t.number), metric) for t in there]
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
        folder = trial_folder(self.folder, entry.number)
        alone = len(entry.trial.measured) == 1
        return {name: _model_in(folder if alone else folder / name, entry) for name in entry.trial.measured}

    def _is_gone(self, trial: Trial) -> bool:
        folder = trial_folder(self.folder, trial.number)
        alone = len(trial.measured) == 1
        for name in trial.measured:
            if not any(path.stem == "model" for path in (folder if alone else folder / name).glob("model.*")):
                remark(f"{folder}: the model of trial {trial.number} is gone; it is left out until it is back")
                return True
        return False

    def speed_up(self, entry: Entry) -> float | None:
        """Return how many times faster an entry is than the teacher on the first target, None where that is unknown."""
        return self.teacher.latency.p50_ms / entry.latency.p50_ms if self.teacher else None

    def under(self, limits: Limits) -> list[Entry]:
        """Return the finished trials that meet these limits, best first.

        That is the most accurate one; where the metric has a limit and latency has none, it is the fastest.
        """
        found = [e for e in self.entries if limits.are_met(e.latencies, e.quality, e.size_bytes)]
        if limits.min_accuracy is not None and not limits.budgets:
            return sorted(found, key=lambda e: (e.latency.p50_ms, -e.quality))
        return sorted(found, key=lambda e: (-e.quality, e.latency.p50_ms))

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
        return Picked(self, chosen, limits, policy)

    def trial(self, number: int) -> Picked:
        """Return the model of a trial, whether it meets the study's limits or not.

        Raises:
            UsageError: There is no such finished trial.
        """
        found = next((entry for entry in self.entries if entry.number == number), None)
        if found is None:
            known = ", ".join(str(n) for n in sorted(e.number for e in self.entries)) or "none"
            raise UsageError(f"{self.folder} has no finished trial {number}; finished: {known}")
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
        """
        limits = self.limits.changed(budget_ms, min_accuracy, max_mb)
        if speedup is not None:
            on = {e.target: e.latency.p50_ms / speedup for e in self._teachers}
            if not on:
                raise BudgetError("speedup is against the teacher, which was not measured yet: search on")
            limits = replace(limits, budget_ms=None, on=on, relative=dict.fromkeys(on, 1 / speedup))
        if max_drop is not None:
            if self.teacher is None:
                raise BudgetError("max_drop is against the teacher, which was not measured yet: search on")
            floor = after_drop(self.teacher.quality, max_drop)
            given = limits.min_accuracy if min_accuracy is not None else None
            limits = replace(limits, min_accuracy=floor if given is None else max(floor, given))
        if max_size is not None:
            if self.teacher is None:
                raise BudgetError("max_size is against the teacher, which was not measured yet: search on")
            most = self.teacher.size_bytes / 1e6 * part_of(max_size)
            limits = replace(limits, max_mb=most if max_mb is None else min(most, max_mb))
        return limits

    def explain(self, limits: Limits) -> str:
        """Return why no model meets the limits: the closest one, what binds, and the nearest relaxations."""
        from .explain import explain

        return explain(self.entries, limits)

    def with_confirmed(self, confirmed: Mapping[int, Confirmed]) -> Front:
        """Return the same front with longer looks."""
        return replace(self, confirmed={**self.confirmed, **confirmed})

    def to_pandas(self) -> pandas.DataFrame:
        """Return one row for each trial, ended in whatever way; every decision is a column."""
        from .frame import to_frame

        return to_frame(self.trials, self.confirmed, frozenset(e.number for e in self.best), self.limits.metric)

    @cached_property
    def _teachers(self) -> list[Entry]:
        return [e for e in self.entries if e.trial.origin is Origin.TEACHER]


@dataclass(frozen=True, repr=False)
class Picked:
    """One model of a front.

    Attributes:
        front: The front.
        entry: The model.
        limits: What was asked of it; None where it was named by its number.
        policy: By which it was chosen; None for the best one under the limits.
    """

    front: Front
    entry: Entry
    limits: Limits | None = None
    policy: str | None = None

    def __repr__(self) -> str:
        """Show the model and its file in two lines."""
        return f"<{line(self.entry)}\n  {', '.join(map(str, self.paths.values()))}>"

    @property
    def path(self) -> Path:
        """The model file, in the study's folder; of several, that for the first target."""
        return next(iter(self.paths.values()))

    @property
    def paths(self) -> dict[str, Path]:
        """The model files in the study's folder, by target."""
        return self.front.paths(self.entry)

    def save(self, folder: str | Path, layout: str = "folder") -> Path:
        """Write the model into `folder` as a bundle that stands alone; see `search.bundle.contents.write_bundle`.

        Files for several targets go into folders named after the targets.

        Args:
            folder: Where it goes.
            layout: "folder", "hub" for a repository of the Hugging Face Hub, or "triton" for a model repository of
                Triton Inference Server; see `search.bundle.layouts`.

        Returns:
            The model's new path; of several, that for the first target.

        Raises:
            UsageError: There is no such layout, or it has no place for files of this runtime.
            StorageError: The disk is full or cannot be written.
        """
        from ..bundle.layouts import write_as

        return next(iter(write_as(layout, self.front, self.entry, Path(folder)).values()))


def line(entry: Entry) -> str:
    """Return one line: trial, where it comes from, metric, latency with its interval, size."""
    latency = entry.latency
    test = f", test {entry.test_text}" if entry.confirmed else ""
    worth = f"{entry.metric.name} {entry.metric_text}{test}"
    return (
        f"trial {entry.number} ({entry.trial.label}): {worth}, p50 {latency.p50_ms:.3f} ms "
        f"({latency.low_ms:.3f} to {latency.high_ms:.3f}) on {entry.target}, {entry.size_bytes / 1000:.0f} kB"
    )


def _model_in(folder: Path, entry: Entry) -> Path:
    found = [path for path in folder.glob("model.*") if path.stem == "model"]
    if len(found) != 1:
        raise StorageError(f"{folder}: the model of trial {entry.number} is gone; restore it from a copy of the study")
    return found[0]
