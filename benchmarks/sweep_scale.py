"""What a driver costs a sweep of many workers: its time for each trial, and how long workers wait for it.

    python -m benchmarks.sweep_scale [--workers 1 8 64 256] [--trials 100 1000 10000] [--decisions 60] [--minutes 10]

Jobs are simulated: each has a price in seconds (a gate 2, a training 50, a file 8: a minute for a trial that shares
nothing with another), and ends when a simulated clock has run so far. That clock runs on while the driver computes, for
as long as it really does: it is the real driver, with its database and its folder. So workers that wait for it stand
idle as they would on a cluster. What travels over a network is not in it; see `cluster_traffic.py`.

Each row goes on with a study of so many trials on disk, for as many trials as there are workers four times over (at
least 100). What ends before is not counted: what every study begins with, and as many trials as there are workers. Each
is a process of its own, of which the most memory is told; it ends after some minutes, with fewer trials counted where
the driver is slow, or with none: then its time for each trial that began is told. To write a study of 10,000 trials
takes minutes, once for all rows.
Not in it: weights that students start from (there are no networks), the report and what is shown.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

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
        apart: Jobs run in other processes, as on a cluster.
        driver_s: Seconds that the driver computed.
        began: Numbers of the trials of which a job began.
    """

    apart = True

    def __init__(self, landscape: Landscape, slots: int) -> None:
        """Start the clock at 0, for so many workers."""
        super().__init__(landscape, PRICES, slots)
        self.driver_s, self._begun_s, self._left_s = 0.0, 0.0, time.perf_counter()
        self.began: set[int] = set()

    @property
    def busy_s(self) -> float:
        """Seconds of work that was done, over all workers."""
        return self._begun_s - sum(max(0.0, end_s - self.clock_s) for end_s, *_ in self._running)

    def submit(self, job: Job) -> Future[JobResult]:
        """Begin a job now."""
        self._charge()
        self._end_due(self.clock_s)
        future = super().submit(job)
        self.began.add(job.number)
        self._begun_s += next(price_s for _, _, price_s, _, known in self._running if known is future)
        self._left_s = time.perf_counter()
        return future

    def run_pending(self) -> None:
        """End what has ended by now; where nothing has, let the clock run until something does."""
        self._charge()
        now_s = self.clock_s
        super().run_pending()
        self._end_due(max(now_s, self.clock_s))
        self._left_s = time.perf_counter()

    def _end_due(self, now_s: float) -> None:
        """End what has ended by now."""
        self.clock_s = now_s
        while self._running and self._running[0][0] <= now_s:
            super().run_pending()
            self.clock_s = now_s

    def close(self) -> None:
        """Drop the jobs under way; what was done of them counts."""
        self._begun_s = self.busy_s
        super().close()

    def _charge(self) -> None:
        """Let the clock run on for the time since the driver was left to itself."""
        spent_s = time.perf_counter() - self._left_s
        self.clock_s += spent_s
        self.driver_s += spent_s


Given = ParamSpec("Given")
Found = TypeVar("Found")


def network_of(decisions: int) -> SimulatedNetwork:
    """Return what is searched."""
    return SimulatedNetwork(decisions, 0, "interacting")


def write(decisions: int, known: int, folder: Path) -> None:
    """Write the study that rows go on with."""
    network = network_of(decisions)
    folder.mkdir(parents=True)
    write_study(network, made_up(network, known), folder)


def row(decisions: int, known: int, workers: int, folder: Path, minutes: float) -> str:
    """Return one row of the table: a study of `known` trials goes on with so many workers.

    Args:
        decisions: Of the network.
        known: Trials of the study.
        workers: Jobs at a time.
        folder: Of the study; it is written into.
        minutes: After which it ends.
    """
    network, end_s = network_of(decisions), time.monotonic() + 60 * minutes
    executor = ChargedExecutor(network, workers)
    driver = make_search(network, executor, folder, seed=0)
    # one run without an end between what is counted and what is not: the workers stay busy
    first, count = known + workers, max(LEAST, COUNTED * workers)
    marks: list[tuple[int, float, float, float]] = []

    def mark() -> None:
        marks.append((len(driver.trials), executor.clock_s, executor.driver_s, executor.busy_s))

    def over() -> bool:
        if not marks and len(driver.trials) >= first and not driver.decisions.opening:
            mark()
        return time.monotonic() > end_s or (bool(marks) and len(driver.trials) >= marks[0][0] + count)

    driver.run(over, lambda snapshot: None)
    mark()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    before, after = marks[0], marks[-1]
    trials, wall_s, driver_s, busy_s = (late - early for early, late in zip(before, after, strict=True))
    if len(marks) == 1 or not trials:
        began = len(executor.began)
        each = f"{executor.driver_s / began:.3f} of {began} that began" if began else ""
        none = f"none in {minutes:g} min; {after[0] - known} ended before"
        return f"| {known:,} | {workers} | {none} | | {each} | | {peak / 1e6:.0f} |"
    idle = max(0.0, 1 - busy_s / (workers * wall_s))
    figures = f"{trials:.0f} | {busy_s / trials:.0f} | {driver_s / trials:.3f} | {100 * idle:.1f} %"
    return f"| {known:,} | {workers} | {figures} | {peak / 1e6:.0f} |"


def apart(act: Callable[Given, Found], *given: Given.args, **named: Given.kwargs) -> Found:
    """Return what a function returns in a process of its own, which ends with it and leaves its memory free."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(act, *given, **named).result()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 8, 64, 256])
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--decisions", type=int, default=60)
    parser.add_argument("--minutes", type=float, default=10.0, help="of a row, at most")
    options = parser.parse_args()
    print("| trials before | workers | counted | work of a trial, s | driver's time for it, s | workers idle | MB |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |", flush=True)
    with tempfile.TemporaryDirectory(prefix="sweep-scale-") as folder:
        for known in options.trials:
            study, copy = Path(folder) / str(known), Path(folder) / "copy"
            apart(write, options.decisions, known, study)
            for workers in options.workers:
                shutil.copytree(study, copy)
                print(apart(row, options.decisions, known, workers, copy, options.minutes), flush=True)
                shutil.rmtree(copy)
            shutil.rmtree(study)


if __name__ == "__main__":
    main()
