"""One rival's run: its plans, one after the other, through the same jobs as the search's own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from autocompress.evaluators.measurement import Latency
from autocompress.search.evaluate.context import Workbench
from autocompress.search.evaluate.evaluation import Job, JobResult, evaluate
from autocompress.spaces.plan import Plan

from .clock import Clock
from .points import Point, Terms
from .rivals import Found, Rival

REPEATS = 200
"""So many plans in a row that were tried before: there is nothing left to try."""


class Race:
    """Runs one rival on an open workbench until the clock, which is the workbench's `stop` too, has run out.

    points, counts, spent_s, exhausted: as of `points.Run`.
    """

    def __init__(self, bench: Workbench, terms: Terms, clock: Clock, say: Callable[[str], None]) -> None:
        self._bench, self._terms, self._clock, self._say = bench, terms, clock, say
        self._number = 0
        self.points: list[Point] = []
        self.counts: Counter[str] = Counter()
        self.spent_s: Counter[str] = Counter()
        self.exhausted = False

    def run(self, rival: Rival) -> None:
        """Plans that were tried before are told again, at no price."""
        known: dict[str, Found] = {}
        repeats = 0
        while not self._clock():
            proposed = rival.ask()
            if proposed is None or repeats == REPEATS:
                self.exhausted = True
                return
            key = proposed.plan.key()
            repeats = repeats + 1 if key in known else 0
            if key not in known:
                found = self._try(proposed.plan)
                if found is None:
                    return
                known[key] = found
            rival.tell(proposed, known[key])

    def _try(self, plan: Plan) -> Found | None:
        """The gate where there is a budget, a full training without a look in between, and the file; None when the time
        ran out.
        """
        self._number += 1
        number, limit = self._number, self._terms.budget_ms
        if limit is not None:
            result = self._do(Job(number, plan, "gate"))
            if result.failure:
                return self._failed(result)
            latency = result.latencies[self._bench.first.name]
            if self._estimate(latency) * latency.low_ms / latency.p50_ms > limit:
                self.counts["gated"] += 1
                return Found(latency.p50_ms, None, self._over(latency))
        if plan.recovery is not None:
            result = self._do(Job(number, plan, "rung", len(self._bench.recoverer.schedule.rungs) - 1))
            if result.stopped:
                return None
            if result.failure:
                return self._failed(result)
        result = self._do(Job(number, plan, "build"))
        if result.measurement is None:
            return self._failed(result)
        if self._clock():
            return None  # its file came too late
        point = Point.of(result.measurement, plan, self._clock.seconds, self._terms.percentile)
        self.points.append(point)
        self.counts["finished"] += 1
        self._say(f"{point.seconds:.0f} s: accuracy {point.accuracy:.4f}, p50 {point.latency_ms:.3f} ms")
        return Found(point.latency_ms, point.accuracy, self._over(result.measurement.latency))

    def _do(self, job: Job) -> JobResult:
        result = evaluate(self._bench, job)
        self.spent_s.update(result.seconds)
        return result

    def _failed(self, result: JobResult) -> Found:
        self.counts["failed"] += 1
        self._say(f"failed: {result.failure}")
        return Found()

    def _estimate(self, latency: Latency) -> float:
        """The percentile of latency (ms) that the budget is about."""
        return latency.at(self._terms.percentile) * latency.p50_ms / latency.high_ms

    def _over(self, latency: Latency) -> float | None:
        limit = self._terms.budget_ms
        return None if limit is None else self._estimate(latency) / limit - 1
