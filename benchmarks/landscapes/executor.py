"""An executor whose jobs take no time: each has a price in seconds, which a simulated clock adds up."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass, replace

from autocompress.evaluators.measurement import Latency, Measurement
from autocompress.search.evaluate.job import Job, JobResult
from autocompress.spaces.spec import StudentSpec

from .landscape import Landscape, row, shape_key, student_key, words_rng

TARGET = "onnxruntime"
PARTS = (0.5, 1.0)
"""Parts of a full training at which the rungs end, as study files have them."""


@dataclass(frozen=True)
class Prices:
    """What each job costs, in seconds.

    Attributes:
        surrogates_s: Measuring sensitivities and a latency model, where a search has any.
        gate_s: Measuring a shape.
        look_s: Looking at an untrained student, or at a trained one with other bits.
        train_s: A full training; a rung costs its part of it.
        build_s: Building and measuring a file.
        known_s: Looking up a shape that was measured before.
    """

    surrogates_s: float = 60.0
    gate_s: float = 1.0
    look_s: float = 2.0
    train_s: float = 300.0
    build_s: float = 10.0
    known_s: float = 0.05


@dataclass(frozen=True)
class Found:
    """A finished trial.

    Attributes:
        clock_s: Simulated seconds after which it finished.
        spec: The student.
        latency_ms: As measured.
        accuracy: As measured.
    """

    clock_s: float
    spec: StudentSpec
    latency_ms: float
    accuracy: float


class SimulatedExecutor:
    """Runs jobs on a landscape. Measurements are as noisy as it says, and the same for the same student.

    Attributes:
        slots: Jobs at a time.
        clock_s: Simulated seconds so far.
        found: Finished trials.
        parts: Parts of a full training at which the rungs end.
    """

    def __init__(
        self,
        landscape: Landscape,
        prices: Prices = Prices(),
        slots: int = 1,
        parts: Iterable[float] = PARTS,
    ) -> None:
        """Start the clock at 0.

        Args:
            landscape: What students are worth.
            prices: What jobs cost.
            slots: Jobs at a time.
            parts: Parts of a full training at which the rungs end.
        """
        self.slots = slots
        self.clock_s = 0.0
        self.found: list[Found] = []
        self.parts = tuple(parts)
        self._landscape, self._prices = landscape, prices
        self._running: list[tuple[float, int, float, Job, Future[JobResult]]] = []
        self._submitted = 0
        self._known: set[str] = set()

    def learn_surrogates(self) -> None:
        """Let the clock run for as long as it takes to measure sensitivities and a latency model."""
        self.clock_s += self._prices.surrogates_s

    def submit(self, job: Job) -> Future[JobResult]:
        """Begin a job; it ends when the clock has run far enough."""
        future: Future[JobResult] = Future()
        self._submitted += 1
        price_s = self._price_s(job)
        heapq.heappush(self._running, (self.clock_s + price_s, self._submitted, price_s, job, future))
        return future

    def run_pending(self) -> None:
        """Let the clock run to the end of the job that ends first."""
        if self._running:
            self.clock_s, _, price_s, job, future = heapq.heappop(self._running)
            kind = {"rung": "training", "build": "building"}.get(job.step, "measuring")
            future.set_result(replace(self._result(job), seconds={kind: price_s}))

    def close(self) -> None:
        """Drop the jobs under way."""
        for *_, future in self._running:
            future.cancel()
        self._running.clear()

    def do(self, job: Job) -> JobResult:
        """Do one job, and whatever ends before it."""
        future = self.submit(job)
        while not future.done():
            self.run_pending()
        return future.result()

    def _price_s(self, job: Job) -> float:
        if job.step == "build":
            return self._prices.build_s
        if job.step == "gate":
            return self._once(f"gate {shape_key(job.spec)}", self._prices.gate_s, self._prices.known_s)
        if job.step == "rung":
            before = self.parts[job.rung - 1] if job.rung else 0.0
            price_s = self._prices.train_s * (self.parts[job.rung] - before)
            # students that differ in bits alone share their training, as in a real search
            return self._once(f"rung {job.spec.training_key()} {job.rung}", price_s, self._prices.look_s)
        return self._prices.look_s

    def _once(self, what: str, price_s: float, again_s: float) -> float:
        if what in self._known:
            return again_s
        self._known.add(what)
        return price_s

    def _result(self, job: Job) -> JobResult:
        if job.step == "gate":
            return JobResult(latencies={TARGET: self._latency(job.spec)}, size_bytes=_bytes(self._landscape, job.spec))
        if job.step == "rung":
            return JobResult(accuracy=self._accuracy(job.spec, self.parts[job.rung]))
        if job.step != "build":
            return JobResult(accuracy=self._accuracy(job.spec, 0.0))
        latency = self._latency(job.spec)
        accuracy = self._accuracy(job.spec, 0.0 if job.spec.recovery is None else 1.0)
        self.found.append(Found(self.clock_s, job.spec, latency.p50_ms, accuracy))
        size_bytes = _bytes(self._landscape, job.spec)
        return JobResult(measured={TARGET: Measurement(accuracy, latency, size_bytes, size_bytes, {})})

    def _latency(self, spec: StudentSpec) -> Latency:
        landscape = self._landscape
        true_ms = float(landscape.latency_ms(row(landscape, spec))[0])
        noise = landscape.latency_spread * words_rng(landscape.seed, "latency", shape_key(spec)).normal()
        ms = true_ms * (1 + noise)
        low, high = ms * (1 - landscape.latency_spread), ms * (1 + landscape.latency_spread)
        return Latency(ms, low, high, ms, ms, ms, ms, 1.0, 1.0, 1.0, 100, 10, 1, False, 0.0, None)

    def _accuracy(self, spec: StudentSpec, part: float) -> float:
        landscape = self._landscape
        accuracy = 1 - landscape.error(spec, part)
        if landscape.examples is None:
            return accuracy
        rng = words_rng(landscape.seed, "accuracy", student_key(spec), part)
        return float(rng.binomial(landscape.examples, accuracy) / landscape.examples)


def _bytes(landscape: Landscape, spec: StudentSpec) -> int:
    """Return the size of a file in which each layer has its bits. Nothing here asks for what its channels save."""
    layers = landscape.space.context.layers
    return sum(layer.weights * spec.bits.get(layer.name, 32) // 8 for layer in layers)
