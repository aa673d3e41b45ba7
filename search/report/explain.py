"""Why no model of a front meets what is asked, and what would do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...errors import one_line
from ...evaluators.measurement import digits_behind, ms_text
from ...studies.metric import rounded
from ..feasibility import Limits
from ..trial import Trial, TrialState
from .entry import Entry

NEAR = "1%"
"""What a model may lose of the teacher's metric and still count as good as the teacher."""


def explain(entries: Sequence[Entry], limits: Limits, least: Callable[[Entry], float]) -> str:
    """Return why no model meets the limits: the closest one, what binds, and the nearest relaxations.

    Args:
        entries: All finished trials, at least one.
        limits: What is asked of a model.
        least: Returns the lower end of a model's metric, as a search keeps it.
    """
    checks, nearest = _checks(limits, least), closest(entries, limits, least)
    binding = max(_excess(checks, nearest).items(), key=lambda item: item[1], default=("limits", 0.0))[0]
    ways = []
    for check in checks:
        free = [check.told(e) for e in entries if check.limit is not None and not _excess(checks, e, check.name)]
        if free:
            ways.append(check.words(max(free) if check.least else min(free)))
    met = f"; relaxing one would do: {', or '.join(ways)}" if ways else ""
    if binding == limits.metric.name and limits.sure_accuracy is not None and least(nearest) < nearest.quality:
        end = "begins" if limits.metric.maximized else "ends"
        binding += f", whose interval {end} at {limits.metric.text(least(nearest))}"
    return (
        f"no model meets the constraints; closest is trial {nearest.number} "
        f"({nearest.metric_text} {limits.metric.name}, p50 {ms_text(nearest.latency.p50_ms)} ms, upper end "
        f"{_upper_end(nearest, limits)} at p{limits.percentile}), held back by its {binding}{met}"
    )


def _upper_end(entry: Entry, limits: Limits) -> str:
    """Return what is held against the budget of a model's target, with its unit."""
    if entry.target in limits.relative:
        return f"{100 * entry.latency.ratio_at(limits.percentile):.4g} % of the teacher's"
    return f"{ms_text(entry.latency.at(limits.percentile))} ms"


def none_finished(trials: Sequence[Trial]) -> str:
    """Return why a study has no model: what became of its trials.

    Args:
        trials: All that ended; none of them finished.
    """
    told = []
    for state, words in ((TrialState.FAILED, "failed"), (TrialState.GATED, "stopped at the gate")):
        ended = [trial for trial in trials if trial.state is state]
        if ended:
            last = f"the last, trial {ended[-1].number}: {one_line(ended[-1].reason or 'no reason kept')}"
            told.append(f"{len(ended)} {words} ({last})")
    return f"no model was finished: {'; '.join(told) or 'give the search more time'}"


def closest(entries: Sequence[Entry], limits: Limits, least: Callable[[Entry], float]) -> Entry:
    """Return the model that comes closest to the limits, by all of them alike.

    What a model misses a limit by counts as a part of that limit, and of several misses the largest. Of models that
    come equally close, the one with the best metric is returned.

    Args:
        entries: At least one.
        limits: What is asked of a model.
        least: See `explain`.
    """
    checks = _checks(limits, least)
    return min(entries, key=lambda e: (max(_excess(checks, e).values(), default=0.0), -e.quality))


def not_near(teacher: Entry | None, found: Sequence[Entry]) -> str:
    """Return why a policy takes none of the models that meet the limits: none is about as good as the teacher.

    Args:
        teacher: The teacher.
        found: The models that meet the limits, at least one.
    """
    best = max(found, key=lambda e: e.quality)
    than = "" if teacher is None else f" ({teacher.metric_text})"
    return (
        f"{len(found)} meet the constraints, but none is within {NEAR} of the teacher's {best.metric.name}{than}; "
        f"best is trial {best.number} ({best.metric_text}): say how much may be lost, such as --max-drop 5%"
    )


@dataclass(frozen=True)
class _Check:
    """One limit, for explaining.

    Attributes:
        name: In words.
        limit: None where nothing is asked.
        value: Of a model, that is held against the limit.
        unit: Of both.
        least: Whether the value must be at least the limit, else at most.
        text: Puts a limit that would do into words.
        asked: Of a model, what a user may ask for so that it is met; the value itself where that is None.
    """

    name: str
    limit: float | None
    value: Callable[[Entry], float]
    unit: str
    least: bool = False
    text: Callable[[float], str] = "{:.4f}".format
    asked: Callable[[Entry], float] | None = None

    def gap(self, entry: Entry) -> float:
        if self.limit is None:
            return 0.0
        got = self.value(entry)
        return (self.limit - got if self.least else got - self.limit) / max(abs(self.limit), 1e-12)

    def told(self, entry: Entry) -> float:
        return (self.asked or self.value)(entry)

    def words(self, need: float) -> str:
        """Round towards what would still do; a limit that was divided and multiplied again may be an ulp off."""
        number = self.text(need) if self.least else rounded(need * (1 + 1e-12), digits_behind(need), up=True)
        return f"{self.name} {number}{' ' + self.unit if self.unit else ''}"


def _excess(checks: Sequence[_Check], entry: Entry, skip: str = "") -> dict[str, float]:
    """Return, of each limit that a model misses, by what part of it."""
    return {c.name: gap for c in checks if c.name != skip and (gap := c.gap(entry)) > 0}


def _checks(limits: Limits, least: Callable[[Entry], float]) -> list[_Check]:
    """Return all limits, those that are not asked for too."""

    def quality(entry: Entry) -> float:
        if limits.sure_accuracy is None or limits.min_accuracy is None:
            return entry.quality
        return min(entry.quality, least(entry) + limits.min_accuracy - limits.sure_accuracy)

    return [
        _latency_check(limits),
        # whoever asks for another metric asks for one that is sure, also where the limit was one against the teacher
        _Check(limits.metric.name, limits.min_accuracy, quality, "", True, limits.metric.lenient, least),
        _Check("size", limits.max_mb, lambda e: e.size_bytes / 1e6, "MB"),
    ]


def _latency_check(limits: Limits) -> _Check:
    """Return the check of latency: of several targets, the one that is furthest over its own budget."""
    where = f" on {next(iter(limits.budgets))}" if len(limits.budgets) == 1 < len(limits.targets) else ""
    name = f"p{limits.percentile} latency{where}"
    parts = {limits.relative.get(target) for target in limits.budgets}
    if len(parts) == 1 and (part := next(iter(parts))) is not None:
        # it is held against the ratio; in milliseconds it would be held against an interval that is wider
        percent, of = 100 * part, "% of the teacher's"
        return _Check(name, percent, lambda e: percent * max(limits.parts(e.latencies).values(), default=0.0), of)
    different = len(set(limits.budgets.values())) > 1
    if different:
        worst = "times the budget of its target"
        return _Check(name, 1.0, lambda e: max(limits.parts(e.latencies).values(), default=0.0), worst)
    limit = next(iter(limits.budgets.values()), None)
    scale = limit or 1.0
    return _Check(name, limit, lambda e: max(limits.parts(e.latencies).values(), default=0.0) * scale, "ms")
