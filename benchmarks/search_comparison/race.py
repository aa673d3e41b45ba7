"""One rival's run: its plans, one after the other, through the same jobs as the search's own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from autocompress.evaluators.measurement import Latency
from autocompress.search.evaluate.context import EvaluationContext
from autocompress.search.evaluate.evaluation import evaluate
from autocompress.search.evaluate.job import Job, JobResult
from autocompress.spaces.space import Space
from autocompress.spaces.spec import StudentSpec

from .clock import Clock
from .points import Point, Terms
from .rivals import Found, Rival

REPEATS = 200
"""After so many plans in a row that were tried before there is nothing left to try."""


class Race:
    """Runs one rival on an open study.

    Attributes:
        points: As of `points.Run`, like `counts`, `spent_s` and `exhausted`.
    """

    def __init__(
        self,
        context: EvaluationContext,
        space: Space,
        terms: Terms,
        clock: Clock,
        say: Callable[[str], None],
        seed: int = 0,
    ) -> None:
        """Run nothing yet.

        Args:
            context: What this process has of the study.
            space: What is searched.
            terms: Of the comparison.
            clock: Ends the run; it is the `stop` of `context` too.
            say: Takes a line about each model.
            seed: Of the trainings.
        """
        self._context, self._space = context, space
        self._terms, self._clock, self._say = terms, clock, say
        self._number, self._seed = 0, seed
        self.points: list[Point] = []
        self.counts: Counter[str] = Counter()
        self.spent_s: Counter[str] = Counter()
        self.exhausted = False

    def run(self, rival: Rival) -> None:
        """Run until the clock has run out. Plans that were tried before are told again, at no price."""
        known: dict[StudentSpec, Found] = {}
        repeats = 0
        while not self._clock():
            proposed = rival.ask()
            if proposed is None or repeats == REPEATS:
                self.exhausted = True
                return
            spec = self._space.spec(proposed.plan)
            repeats = repeats + 1 if spec in known else 0
            if spec not in known:
                found = self._try(spec)
                if found is None:
                    return
                known[spec] = found
            rival.tell(proposed, known[spec])

    def _try(self, spec: StudentSpec) -> Found | None:
        """Pass the gate where there is a budget, train in full without a look in between, and build the file.

        Returns:
            What was found; None when the time ran out.
        """
        self._number += 1
        number, limit = self._number, self._terms.budget_ms
        if limit is not None:
            result = self._do(Job(number, spec, "gate"))
            if result.failure:
                return self._failed(result)
            (latency,) = result.latencies.values()
            if self._estimate(latency) * latency.low_ms / latency.p50_ms > limit:
                self.counts["gated"] += 1
                return Found(latency.p50_ms, None, self._over(latency))
        if spec.recovery is not None:
            result = self._do(Job(number, spec, "rung", len(self._context.recoverer.schedule.rungs) - 1))
            if result.stopped:
                return None
            if result.failure:
                return self._failed(result)
        result = self._do(Job(number, spec, "build"))
        if result.failure:
            return self._failed(result)
        if self._clock():
            return None  # its file came too late
        (measurement,) = result.measured.values()
        point = Point.of(measurement, spec, self._clock.seconds, self._terms.percentile)
        self.points.append(point)
        self.counts["finished"] += 1
        self._say(f"{point.seconds:.0f} s: accuracy {point.accuracy:.4f}, p50 {point.latency_ms:.3f} ms")
        return Found(point.latency_ms, point.accuracy, self._over(measurement.latency))

    def _do(self, job: Job) -> JobResult:
        result = evaluate(self._context, replace(job, seed=self._seed))
        self.spent_s.update(result.seconds)
        return result

    def _failed(self, result: JobResult) -> Found:
        self.counts["failed"] += 1
        self._say(f"failed: {result.failure}")
        return Found()

    def _estimate(self, latency: Latency) -> float:
        """Return the percentile of latency (ms) that the budget is about."""
        return latency.at(self._terms.percentile) * latency.p50_ms / latency.high_ms

    def _over(self, latency: Latency) -> float | None:
        limit = self._terms.budget_ms
        return None if limit is None else self._estimate(latency) / limit - 1
