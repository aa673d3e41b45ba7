"""How often intervals of latencies hold the truth, on a simulated machine whose truth is known.

    python benchmarks/interval_coverage.py --trials 400

Nothing is timed. Everything after the clock is what a search runs: how long a process goes on, how many processes are
taken, which are run again, how they are combined, the calibration, and the watch over the reference. Only the timing
process is replaced, by one that draws times: sessions differ between processes, the machine drifts between moments and
rounds, calls have a skewed noise, and a few of them stall.

Moments are ten minutes apart and independent of each other; in the last rows they follow on each other within a minute
or two, and the machine's speed wanders from one to the next, forgetting itself over some minutes.
"""

from __future__ import annotations

import argparse
import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from autocompress.evaluators.latency import LatencyMeter, in_scale
from autocompress.evaluators.measurement import Latency
from autocompress.evaluators.timing import side_by_side
from autocompress.evaluators.timing.enough import is_enough
from autocompress.evaluators.timing.host import ThisMachine
from autocompress.evaluators.timing.moments import Watch, drift_of_run, remember_drift
from autocompress.evaluators.timing.processes import ModelTimes, ProcessTimes, TimingRequest
from autocompress.evaluators.timing.statistics import choose_statistic, log_ratio
from autocompress.spaces.target import Target

CLAIMED = 0.95
REFERENCE_MS, RATIO = 4.0, 0.4
STALLS, STALL = 0.004, 5.0
"""Share of calls that stall, and how many times as long they take."""
LEVELS = (0.01, 0.02, 0.03, 0.04)
"""Standard deviations of a log-ratio between processes."""
DRIFTS = (0.01, 0.05, 0.15)
"""Standard deviations of the machine's log-speed between moments."""
MOMENTS = 6


@dataclass(frozen=True)
class World:
    """A machine and two files on it.

    Attributes:
        process_sd: Standard deviation of a log-ratio between processes.
        drift_sd: Of the log-speed between moments.
        middle: How many times wider the candidate's noise is than the reference's.
        threads: Of the files.
        apart_s: Seconds from one moment to the next.
        memory_s: Seconds over which the machine's speed forgets itself (an Ornstein-Uhlenbeck process); 0 for at once.
        known: How many studies the machine has had before, each of which left behind how much it drifted.
    """

    process_sd: float
    drift_sd: float = 0.0
    middle: float = 1.0
    threads: int = 1
    apart_s: float = 600.0
    memory_s: float = 0.0
    known: int = 0


class Machine:
    """A timing host that draws what timing processes would give."""

    name = "simulated"

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.random, self.at_s = world, np.random.default_rng(seed), 0.0
        self.log_speed = self.random.normal(0, world.drift_sd)

    def next_moment(self) -> None:
        """Let the time to the next moment pass."""
        world = self.world
        self.at_s += world.apart_s
        kept = math.exp(-world.apart_s / world.memory_s) if world.memory_s else 0.0
        self.log_speed = kept * self.log_speed + math.sqrt(1 - kept**2) * self.random.normal(0, world.drift_sd)

    def noise(self, shape: tuple[int, ...], middle: float) -> np.ndarray:
        """Draw what a call takes over the least that it can take."""
        return 1 + 0.03 * middle * np.abs(self.random.standard_normal(shape))

    def stalls(self, shape: tuple[int, ...]) -> np.ndarray:
        """Draw how many times as long a call takes because something else came in between."""
        return np.where(self.random.random(shape) < STALLS, STALL, 1.0)

    def time(self, request: TimingRequest) -> ProcessTimes:
        """Stand for a timing process."""
        files = [(RATIO, self.world.middle) if "candidate" in f.path.name else (1.0, 1.0) for f in request.files]
        base = [math.log(REFERENCE_MS * scale) + self.log_speed for scale, _ in files]
        session = self.random.normal(0, self.world.process_sd / math.sqrt(2), len(files))
        calls = [int(min(max(round(15 / (REFERENCE_MS * scale)), 2), 60)) for scale, _ in files]
        wall: list[list[np.ndarray]] = [[] for _ in files]
        cpu: list[list[np.ndarray]] = [[] for _ in files]
        slow, elapsed_s, rounds = 0.0, 0.4, 0
        statistic = choose_statistic(request.files[0].target, synchronous=True)

        def half_width() -> float:
            times = [np.array(rows) for rows in (cpu if statistic.clock == "cpu" else wall)]
            widths = [log_ratio(times[i], times[0], statistic.quantile).half_width for i in range(1, len(files))]
            return max(widths, default=0.0)

        while True:
            rounds += 1
            slow = 0.9 * slow + self.random.normal(0, 0.01)
            for i, (_, middle) in enumerate(files):
                own = math.exp(base[i] + session[i] + slow + self.random.normal(0, 0.005))
                took = own * self.noise((calls[i],), middle)
                cpu[i].append(took)
                wall[i].append(1.003 * took * self.stalls((calls[i],)))
                elapsed_s += float(wall[i][-1].sum()) / 1000
            if is_enough(request, rounds, rounds * min(calls), elapsed_s, half_width):
                break
        models = (
            ModelTimes(np.array(w), np.array(c), np.zeros(rounds), 1.0, 5, 1.0) for w, c in zip(wall, cpu, strict=True)
        )
        return ProcessTimes(tuple(models))

    def conditions(self, target: Target) -> dict[str, Any]:
        """Return those of this machine."""
        return ThisMachine().conditions(target)

    def chosen(self) -> AbstractContextManager[Machine]:
        """Give this machine."""
        return nullcontext(self)

    def truths(self) -> tuple[float, float, float]:
        """Return the candidate's median over the reference's, its median (ms), and its 99th percentile (ms)."""
        many = (400_000,)
        reference = 1.003 * self.noise(many, 1.0) * self.stalls(many)
        candidate = 1.003 * self.noise(many, self.world.middle) * self.stalls(many)
        ratio = RATIO * float(np.median(candidate) / np.median(reference))
        scale = REFERENCE_MS * RATIO
        return ratio, scale * float(np.median(candidate)), scale * float(np.quantile(candidate, 0.99))


@contextmanager
def simulated(machine: Machine, folder: Path) -> Iterator[LatencyMeter]:
    """Give a meter on a simulated machine."""
    target = Target(threads=machine.world.threads)
    patches = (
        mock.patch.object(side_by_side, "now_s", lambda: machine.at_s),
        mock.patch.dict(os.environ, {"AUTOCOMPRESS_CACHE": str(folder / "cache")}),
    )
    with patches[0], patches[1]:
        for number in range(machine.world.known):
            earlier, begun_s = Watch(folder / f"watch-{number}.jsonl"), machine.at_s
            meter = LatencyMeter(target, Path("reference.onnx"), host=machine, watch=earlier)
            calibration = meter.calibrate()
            meter = replace(meter, calibration=calibration)
            for _ in range(MOMENTS - 1):
                machine.next_moment()
                meter.measure([Path("candidate.onnx")])
            remember_drift(dict(calibration.conditions), drift_of_run(earlier.read(), begun_s))
            machine.next_moment()
        yield LatencyMeter(target, Path("reference.onnx"), host=machine, watch=Watch(folder / "watch.jsonl"))


def one_study(world: World, seed: int) -> dict[str, tuple[bool, float]]:
    """Calibrate, measure at several moments, and confirm, as a search does.

    Returns:
        Figure -> whether its interval held the truth, and the interval's half-width in percent.
    """
    machine = Machine(world, seed)
    candidate = Path("candidate.onnx")
    with tempfile.TemporaryDirectory() as folder, simulated(machine, Path(folder)) as meter:
        meter = replace(meter, calibration=meter.calibrate())
        first = meter.measure([candidate])[0]
        for _ in range(MOMENTS - 2):
            machine.next_moment()
            meter.measure([candidate])
        machine.next_moment()
        meter = replace(meter, calibration=meter.seen())
        last = meter.measure([candidate], 3, until=meter.precision, percentile=99)[0]
        final = in_scale(last, meter.seen())
    ratio, p50_ms, p99_ms = machine.truths()

    def ratio_holds(latency: Latency) -> tuple[bool, float]:
        width = 50 * math.log(latency.ratio_high / latency.ratio_low)
        return latency.ratio_low <= ratio <= latency.ratio_high, width

    def ms_holds(latency: Latency) -> tuple[bool, float]:
        width = 50 * math.log(latency.high_ms / latency.low_ms)
        return latency.low_ms <= p50_ms <= latency.high_ms, width

    p99_width = 50 * math.log(final.at(99) / final.least(99))
    return {
        "ratio at the gate": ratio_holds(first),
        "ratio confirmed": ratio_holds(last),
        "ms at the gate": ms_holds(first),
        "ms confirmed": ms_holds(final),
        "p99 confirmed": (final.least(99) <= p99_ms <= final.at(99), p99_width),
    }


def coverage(world: World, trials: int, seed: int = 0) -> dict[str, tuple[float, float]]:
    """Return, for each figure, how often its interval held the truth, and its mean half-width in percent."""
    studies = [one_study(world, seed + i) for i in range(trials)]
    return {
        name: (float(np.mean([s[name][0] for s in studies])), float(np.mean([s[name][1] for s in studies])))
        for name in studies[0]
    }


def worlds() -> dict[str, World]:
    """Return what is simulated, by a few words."""
    found = {f"process sd {sd:.0%}": World(sd) for sd in LEVELS}
    found |= {f"process sd 2%, drift sd {sd:.0%}": World(0.02, sd) for sd in DRIFTS}
    found |= {f"the same in study {known + 1} of a machine": World(0.02, DRIFTS[-1], known=known) for known in (1, 2)}
    found |= {"2 threads, a middle 4 x as wide": World(0.02, 0.02, middle=4.0, threads=2)}
    return found | {
        f"drift sd {sd:.0%}, moments {apart_s:.0f} s apart, forgotten in {memory_s / 60:.0f} min": World(
            0.02, sd, apart_s=apart_s, memory_s=memory_s
        )
        for sd in DRIFTS[1:]
        for apart_s, memory_s in ((30.0, 120.0), (30.0, 600.0), (120.0, 600.0))
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=400, help="simulated studies in each row")
    trials = parser.parse_args().trials
    print(f"How often 95 % intervals held the truth in {trials} simulated studies, and their mean half-width:\n")
    head: list[str] = []
    for words, world in worlds().items():
        found = coverage(world, trials)
        if not head:
            head = list(found)
            print(f"| machine | {' | '.join(head)} |\n| --- |{' ---: |' * len(head)}")
        cells = (f"{share:.3f} (± {width:.1f} %)" for share, width in found.values())
        print(f"| {words} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
