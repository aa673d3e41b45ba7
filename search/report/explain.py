"""Why no model of a front meets what is asked, and what would do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...studies.metric import rounded
from ..feasibility import Limits
from .entry import Entry


def explain(entries: Sequence[Entry], limits: Limits, least: Callable[[Entry], float]) -> str:
    """Return why no model meets the limits: the closest one, what binds, and the nearest relaxations.

    Args:
        entries: All finished trials.
        limits: What is asked of a model.
        least: Returns the lower end of a model's metric, as a search keeps it.
    """
    if not entries:
        return "no model was finished yet: give the search more time"

    def quality(entry: Entry) -> float:
        if limits.sure_accuracy is None or limits.min_accuracy is None:
            return entry.quality
        return min(entry.quality, least(entry) + limits.min_accuracy - limits.sure_accuracy)

    checks = [
        _latency_check(limits),
        _Check(limits.metric.name, limits.min_accuracy, quality, "", True, limits.metric.lenient),
    ]
    checks.append(_Check("size", limits.max_mb, lambda e: e.size_bytes / 1e6, "MB"))

    def excess(entry: Entry, skip: str = "") -> dict[str, float]:
        return {c.name: gap for c in checks if c.name != skip and (gap := c.gap(entry)) > 0}

    closest = min(entries, key=lambda e: (max(excess(e).values(), default=0.0), -e.quality))
    binding = max(excess(closest).items(), key=lambda item: item[1], default=("limits", 0.0))[0]
    ways = []
    for check in checks:
        free = [check.value(e) for e in entries if check.limit is not None and not excess(e, skip=check.name)]
        if free:
            ways.append(check.words(max(free) if check.least else min(free)))
    met = f"; relaxing one would do: {', or '.join(ways)}" if ways else ""
    if binding == limits.metric.name and least(closest) < closest.quality:
        binding += f", whose interval begins at {limits.metric.text(least(closest))}"
    return (
        f"no model meets the constraints; closest is trial {closest.number} "
        f"({closest.metric_text} {limits.metric.name}, p50 {closest.latency.p50_ms:.3f} ms, upper end "
        f"{closest.latency.at(limits.percentile):.3f} ms at p{limits.percentile}), held back by its {binding}{met}"
    )


def not_near(teacher: Entry | None, found: Sequence[Entry]) -> str:
    """Return why a policy takes none of the models that meet the limits: none is about as good as the teacher.

    Args:
        teacher: The teacher.
        found: The models that meet the limits, at least one.
    """
    best = max(found, key=lambda e: e.quality)
    than = "" if teacher is None else f" ({teacher.metric_text})"
    return (
        f"{len(found)} meet the constraints, but none is within 1% of the teacher's {best.metric.name}{than}; "
        f"best is trial {best.number} ({best.metric_text}): say how much may be lost, such as --max-drop 5%"
    )


@dataclass(frozen=True)
class _Check:
    """One limit, for explaining. least: the value must be at least the limit; else at most."""

    name: str
    limit: float | None
    value: Callable[[Entry], float]
    unit: str
    least: bool = False
    text: Callable[[float], str] = "{:.4f}".format

    def gap(self, entry: Entry) -> float:
        if self.limit is None:
            return 0.0
        got = self.value(entry)
        return (self.limit - got if self.least else got - self.limit) / max(abs(self.limit), 1e-12)

    def words(self, need: float) -> str:
        """Round towards what would still do; a limit that was divided and multiplied again may be an ulp off."""
        number = self.text(need) if self.least else rounded(need * (1 + 1e-12), 3, up=True)
        return f"{self.name} {number}{' ' + self.unit if self.unit else ''}"


def _latency_check(limits: Limits) -> _Check:
    """Return the check of latency: of several targets, the one that is furthest over its own budget."""
    where = f" on {next(iter(limits.budgets))}" if len(limits.budgets) == 1 < len(limits.targets) else ""
    name = f"p{limits.percentile} latency{where}"
    different = len(set(limits.budgets.values())) > 1
    if different:
        worst = "times the budget of its target"
        return _Check(name, 1.0, lambda e: max(limits.parts(e.latencies).values(), default=0.0), worst)
    limit = next(iter(limits.budgets.values()), None)
    scale = limit or 1.0
    return _Check(name, limit, lambda e: max(limits.parts(e.latencies).values(), default=0.0) * scale, "ms")
