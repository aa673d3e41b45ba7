"""One way to search a landscape without this project: what all of them share.

They pay the same prices as the search, on the same executor. A design over the budget costs them the gate alone; there
are no rungs and no surrogates.
"""

from __future__ import annotations

import math

from autocompress.search.evaluate.job import Job
from autocompress.spaces.plan import Plan

from .executor import SimulatedExecutor
from .landscape import Landscape


class Rival:
    """One way to search.

    Attributes:
        landscape: What is searched.
        executor: Runs jobs.
        seed: Of all random choices.
        limit_ms: The latency that a student may have; any where the landscape has no budget.
        fitting: The finished plans under the budget.
    """

    def __init__(self, landscape: Landscape, executor: SimulatedExecutor, seed: int) -> None:
        """Search `landscape` with the jobs of `executor`."""
        self.landscape, self.executor, self.seed = landscape, executor, seed
        self.limit_ms = landscape.budget_ms if landscape.has_budget else math.inf
        self.fitting: list[Plan] = []
        self._number = 0

    def run(self, horizon_s: float) -> None:
        """Search until the clock passes `horizon_s` or nothing is left to try."""
        raise NotImplementedError("run: search until the clock passes horizon_s")

    def gate_ms(self, plan: Plan) -> float:
        """Return the measured latency (ms) of a new trial's shape."""
        self._number += 1
        job = Job(self._number, self.landscape.space.spec(plan), "gate")
        (latency,) = self.executor.do(job).latencies.values()
        return latency.p50_ms

    def accuracy(self, plan: Plan) -> float:
        """Return the accuracy of the file after full training."""
        spec = self.landscape.space.spec(plan)
        for rung in range(len(self.executor.parts) if spec.recovery else 0):
            self.executor.do(Job(self._number, spec, "rung", rung))
        (file,) = self.executor.do(Job(self._number, spec, "build")).measured.values()
        if file.latency.p50_ms <= self.limit_ms:
            self.fitting.append(plan)
        return file.accuracy

    def tried(self, plan: Plan) -> tuple[float, float | None]:
        """Return the latency (ms), and the accuracy where that is under the budget."""
        ms = self.gate_ms(plan)
        return ms, self.accuracy(plan) if ms <= self.limit_ms else None
