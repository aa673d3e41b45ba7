"""What a driver costs a sweep of many workers: its time for each trial, and how long workers wait for it.

    python -m benchmarks.sweep_scale [--workers 1 8 64 256] [--trials 100 1000 10000] [--decisions 60]

Jobs are simulated: each has a price in seconds (a gate 2, a training 50, a file 8: a minute for a trial that shares
nothing with another), and ends when a simulated clock has run so far. That clock runs on while the driver computes, for
as long as it really does: it is the real driver, with its database and its folder. So workers that wait for it stand
idle as they would on a cluster. What travels over a network is not in it; see `cluster_traffic.py`.

Each row goes on with a study of so many trials on disk, for as many trials as there are workers four times over (at
least 100), after as many that are not counted.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from concurrent.futures import Future
from pathlib import Path

from autocompress.search.evaluate.job import Job, JobResult
from benchmarks.driver_scale import made_up, write_study
from benchmarks.landscapes.executor import Prices, SimulatedExecutor
from benchmarks.landscapes.landscape import Landscape
from benchmarks.landscapes.ours import make_search
from benchmarks.landscapes.simulated import SimulatedNetwork

PRICES = Prices(surrogates_s=0.0, gate_s=2.0, look_s=2.0, train_s=50.0, build_s=8.0)
COUNTED = 4
"""Trials that are counted, for each worker."""
LEAST = 100
"""Trials that are counted at least."""


class ChargedExecutor(SimulatedExecutor):
    """An executor whose clock runs on while its driver computes.

    Attributes:
        driver_s: Seconds that the driver computed.
    """

    def __init__(self, landscape: Landscape, slots: int) -> None:
        """Start the clock at 0, for so many workers."""
        super().__init__(landscape, PRICES, slots)
        self.driver_s, self._begun_s, self._left_s = 0.0, 0.0, time.perf_counter()

    @property
    def busy_s(self) -> float:
        """Seconds of work that was done, over all workers."""
        return self._begun_s - sum(max(0.0, end_s - self.clock_s) for end_s, *_ in self._running)

    def submit(self, job: Job) -> Future[JobResult]:
        """Begin a job now."""
        self._charge()
        future = super().submit(job)
        self._begun_s += next(price_s for _, _, price_s, _, known in self._running if known is future)
        self._left_s = time.perf_counter()
        return future

    def run_pending(self) -> None:
        """End what has ended by now; where nothing has, let the clock run until something does."""
        self._charge()
        now_s = self.clock_s
        super().run_pending()
        self.clock_s = max(now_s, self.clock_s)
        while self._running and self._running[0][0] <= now_s:
            super().run_pending()
            self.clock_s = now_s
        self._left_s = time.perf_counter()

    def close(self) -> None:
        """Drop the jobs under way; what was done of them counts."""
        self._begun_s = self.busy_s
        super().close()

    def _charge(self) -> None:
        """Let the clock run on for the time since the driver was left to itself."""
        spent_s = time.perf_counter() - self._left_s
        self.clock_s += spent_s
        self.driver_s += spent_s


def row(network: SimulatedNetwork, known: int, workers: int) -> str:
    """Return one row of the table: a study of `known` trials goes on with so many workers."""
    with tempfile.TemporaryDirectory(prefix="sweep-scale-") as folder:
        write_study(network, made_up(network, known), Path(folder))
        executor = ChargedExecutor(network, workers)
        driver = make_search(network, executor, Path(folder), seed=0)
        # one run without an end between what is counted and what is not: the workers stay busy
        marks: list[tuple[int, float, float, float]] = []
        first, last = known + workers, known + workers + max(LEAST, COUNTED * workers)

        def over() -> bool:
            ended = len(driver.trials)
            if not marks and ended >= first and not driver.decisions.opening:
                marks.append((ended, executor.clock_s, executor.driver_s, executor.busy_s))
            return bool(marks) and ended >= marks[0][0] + last - first

        driver.run(over, lambda snapshot: None)
        ended, clock_s, driver_s, busy_s = marks[0]
        trials = len(driver.trials) - ended
        wall_s = executor.clock_s - clock_s
        busy_s = executor.busy_s - busy_s
        each_s = (executor.driver_s - driver_s) / trials
    idle = max(0.0, 1 - busy_s / (workers * wall_s))
    return f"| {known:,} | {workers} | {trials} | {busy_s / trials:.0f} | {each_s:.3f} | {100 * idle:.1f} % |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 8, 64, 256])
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--decisions", type=int, default=60)
    options = parser.parse_args()
    network = SimulatedNetwork(options.decisions, 0, "interacting")
    print("| trials before | workers | trials counted | work of a trial, s | driver's time for it, s | workers idle |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    for known in options.trials:
        for workers in options.workers:
            print(row(network, known, workers), flush=True)


if __name__ == "__main__":
    main()
