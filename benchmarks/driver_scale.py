"""What a driver costs after many trials: who goes on from a rung, how the front grew, the next proposal, its study.

    python -m benchmarks.driver_scale [--trials 1000 10000] [--decisions 120]

The trials are made up: plans of a simulated network with what they are worth there. Seconds are the median of three,
for a proposal the mean over 24 (a model is fitted for several at a time); memory is the peak of what was taken.

The study is a real one on disk: rows in its database, a plan for each trial. It is opened as a search does, and goes
on for 24 trials whose jobs take no time. MB are those of the whole process then; open files and disk as they stand.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import psutil

from autocompress.evaluators.measurement import Latency, Measurement
from autocompress.search.feasibility import Limits
from autocompress.search.promotion import Standing, best_of_rung
from autocompress.search.propose.strategy import make_proposer
from autocompress.search.stopping import outlook
from autocompress.search.store.trials import TrialStore
from autocompress.search.trial import Origin, Trial, TrialState
from autocompress.studies.schema import SearchSection
from benchmarks.landscapes.executor import TARGET, SimulatedExecutor
from benchmarks.landscapes.landscape import row
from benchmarks.landscapes.ours import make_search
from benchmarks.landscapes.simulated import SimulatedNetwork

OBJECTIVES = ("accuracy", "latency_ms")
PROPOSALS = 24


def measured(work: Callable[[], object], repeats: int = 3) -> tuple[float, float]:
    """Return the median seconds and the peak memory (MB) of a piece of work."""
    seconds = []
    for _ in range(repeats):
        start_s = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start_s)
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return statistics.median(seconds), peak / 1e6


def made_up(network: SimulatedNetwork, count: int) -> list[Trial]:
    """Return finished trials of random plans of mixed sizes."""
    rng = np.random.default_rng(0)
    space = network.space
    levels = np.array([len(v.options) for v in space.network])
    trials = []
    for number in range(1, count + 1):
        part = rng.random() * rng.random(len(levels))
        plan = space.assemble([int(i) for i in part * levels], space.taught)
        spec = space.spec(plan)
        ms = float(network.latency_ms(row(network, spec))[0])
        latency = Latency(ms, 0.99 * ms, 1.01 * ms, ms, ms, ms, ms, 1.0, 1.0, 1.0, 100, 10, 1, False, 0.0, None)
        metric = 1 - network.error(spec, 1.0)
        file = Measurement(metric, latency, 1000, 900, {})
        trial = Trial(number, plan, spec, Origin.SEARCH, "search", TrialState.FINISHED, ended_s=60.0 * number)
        trials.append(replace(trial, measured={TARGET: file}, gate={TARGET: latency}, rungs=(metric - 0.01, metric)))
    return trials


def standings(trials: Sequence[Trial]) -> list[Standing]:
    """Return where the trials stand at the first rung."""
    return [Standing(t.number, t.rungs[0], (t.gate[TARGET].p50_ms,)) for t in trials]


def write_study(network: SimulatedNetwork, trials: Sequence[Trial], folder: Path) -> float:
    """Write a study with these trials; return the seconds of one row, once most are there."""
    store, spent = TrialStore(folder, network.name, OBJECTIVES), []
    for trial in trials:
        start_s = time.perf_counter()
        store.begin(replace(trial, state=TrialState.RUNNING, measured={}))
        file = trial.measured[TARGET]
        store.end(trial, [file.accuracy, file.latency.p50_ms], network.space)
        spent.append(time.perf_counter() - start_s)
    return statistics.median(spent[-100:])


def in_a_study(network: SimulatedNetwork, trials: Sequence[Trial], folder: Path) -> None:
    """Measure what a study with these trials takes: to write, to open, to go on."""
    count, process = len(trials), psutil.Process()
    wrote_s = write_study(network, trials, folder)
    print(f"{count:8d}  {'writing a trial':34}  {wrote_s:8.3f}", flush=True)
    gc.collect()
    before = process.memory_info().rss
    start_s = time.perf_counter()
    executor = SimulatedExecutor(network)
    driver = make_search(network, executor, folder, seed=0)
    opened_s, opened = time.perf_counter() - start_s, process.memory_info().rss
    print(f"{count:8d}  {'opening the study':34}  {opened_s:8.3f}  {(opened - before) / 1e6:6.0f}", flush=True)
    files = process.num_fds()
    began: list[tuple[float, int]] = []

    def is_enough() -> bool:
        # what every study begins with is not what is measured
        if not began and not driver.decisions.opening:
            began.append((time.perf_counter(), len(driver.trials)))
        return bool(began) and len(driver.trials) >= began[0][1] + PROPOSALS

    driver.run(is_enough, lambda snapshot: None)
    start_s, known = began[0]
    took_s = (time.perf_counter() - start_s) / max(1, len(driver.trials) - known)
    print(f"{count:8d}  {'a trial, but for its jobs':34}  {took_s:8.3f}  {process.memory_info().rss / 1e6:6.0f}")
    disk = sum(path.stat().st_size for path in folder.glob("study.db*"))
    print(
        f"{count:8d}  open files: {files} before, {process.num_fds()} after; the database: {disk / 1e6:.0f} MB",
        flush=True,
    )


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--decisions", type=int, default=120)
    options = parser.parse_args()
    network = SimulatedNetwork(options.decisions, 0, "interacting")
    print(f"{'trials':>8}  {'work':34}  {'seconds':>8}  {'MB':>6}")
    for count in options.trials:
        trials = made_up(network, count)
        found = standings(trials)
        gone_on = {t.number for t in trials[::3]}
        for words, work in (
            ("who goes on from a rung", partial(best_of_rung, found, gone_on, set(), 2, 5000)),
            ("how the front grew", partial(outlook, trials, Limits((TARGET,)), OBJECTIVES, 5000, 60.0 * count)),
        ):
            print("{:8d}  {:34}  {:8.3f}  {:6.0f}".format(count, words, *measured(work)), flush=True)
        proposer = make_proposer(network.space, SearchSection(), OBJECTIVES, network.surrogates, (TARGET,), {})
        proposer.know(trials, [])
        while proposer.opening:
            proposer.propose()
        start_s = time.perf_counter()
        for trial in trials:
            file = trial.measured[TARGET]
            proposer.learn(trial, [-file.accuracy, file.latency.p50_ms], None, None)
        print(f"{count:8d}  {'telling all, once':34}  {time.perf_counter() - start_s:8.3f}", flush=True)
        start_s = time.perf_counter()
        for _ in range(PROPOSALS):
            proposer.propose()
        print(f"{count:8d}  {'a proposal':34}  {(time.perf_counter() - start_s) / PROPOSALS:8.3f}", flush=True)
        del proposer
        with tempfile.TemporaryDirectory(prefix="driver-scale-") as folder:
            in_a_study(network, trials, Path(folder))


if __name__ == "__main__":
    main()
