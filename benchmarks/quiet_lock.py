"""Is a latency the same while a neighbour works under the project's own lock, and what does that cost the neighbour?

    python benchmarks/quiet_lock.py [--network resnet20] [--repeats 10] [--threads 2] [--work training scoring]

It measures one int8 candidate with and without the neighbour, in random order. It prints the ratio of the two with its
95 % interval, and how many batches the neighbour did per second while it was measured beside and while it was not. The
neighbour trains a network, or scores a file as a search does.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from neighbour import Neighbour
from networks import Network, Variant, machine_line

from autocompress.evaluators.latency import LatencyMeter
from autocompress.evaluators.measurement import Latency
from autocompress.evaluators.timing.host import ThisMachine
from autocompress.evaluators.timing.quiet import QuietMachine
from autocompress.evaluators.timing.statistics import Estimate, combine


def estimate(value: float, low: float, high: float) -> Estimate:
    """Return the estimate of a value with this interval."""
    return Estimate(math.log(value), math.log(high / low) / 2)


def between(one: Estimate, other: Estimate) -> Estimate:
    """Return the estimate of log(one / other)."""
    return Estimate(one.log - other.log, math.hypot(one.half_width, other.half_width))


def compared(kind: str, pairs: list[tuple[Latency, Latency]]) -> Estimate:
    """Return the estimate of log(with / without the neighbour), for the p50 or for the ratio to the reference."""
    names = ("p50_ms", "low_ms", "high_ms") if kind == "p50" else ("ratio", "ratio_low", "ratio_high")
    return combine([between(*(estimate(*(getattr(x, n) for n in names)) for x in pair)) for pair in pairs])


def main() -> None:
    """Run what the command line asks for, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="resnet20")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2, help="Of the neighbour's work.")
    parser.add_argument("--precision", type=float, default=0.02, help="Within which the two must agree.")
    parser.add_argument("--work", nargs="+", choices=("training", "scoring"), default=["training"])
    options = parser.parse_args()
    for work in options.work:
        beside(work, options)


def beside(work: str, options: argparse.Namespace) -> None:
    """Measure with and without a neighbour that does this work, and print what came of it."""
    network, order = Network(options.network), random.Random(0)
    print(f"{machine_line()}; {options.network} int8, {options.repeats} repeats, {work} by {options.threads} threads")
    pairs: list[tuple[Latency, Latency]] = []
    free, slowed, waits = [], [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lock = folder / "lock"  # of its own: other work under the rule must not stand in for the neighbour
        reference = network.build("onnxruntime", Variant(), folder)
        candidate = network.build("onnxruntime", Variant(bits=8), folder)
        host = ThisMachine(QuietMachine(folder=lock))
        meter = LatencyMeter(reference.target, reference.path, host=host)
        meter = LatencyMeter(reference.target, reference.path, meter.calibrate(), host=host)
        for repeat in range(options.repeats):
            found: dict[bool, Latency] = {}
            for loaded in order.sample((False, True), 2):
                with ExitStack() as street:
                    neighbour = street.enter_context(Neighbour(options.threads, lock, work)) if loaded else None
                    if neighbour is not None:
                        before, start = neighbour.steps(), time.perf_counter()
                        time.sleep(3)
                        free.append((neighbour.steps() - before) / (time.perf_counter() - start))
                        before = neighbour.steps()
                    start = time.perf_counter()
                    found[loaded] = meter.measure([candidate.path], until=options.precision)[0]
                    if neighbour is not None:
                        waits.append(time.perf_counter() - start)
                        slowed.append((neighbour.steps() - before) / waits[-1])
            pairs.append((found[True], found[False]))
            marked = ", ".join("yes" if found[loaded].disturbed else "no" for loaded in (True, False))
            print(
                f"{repeat:3}  p50 {found[True].p50_ms:.3f} ms with the neighbour, {found[False].p50_ms:.3f} without; "
                f"marked disturbed: {marked}",
                flush=True,
            )
    for kind in ("p50", "ratio"):
        value, low, high = compared(kind, pairs).interval()
        within = max(1 / low, high) <= 1 + options.precision
        verdict = "agree" if within else "too wide to tell" if low <= 1 <= high else "DIFFER"
        print(f"{kind}, with to without: {value:.4f} ({low:.4f} to {high:.4f}): {verdict}")
    slower = statistics.fmean(free) / max(statistics.fmean(slowed), 1e-9)
    print(
        f"{work}: {statistics.fmean(free):.1f} batches/s alone, {statistics.fmean(slowed):.1f} while measured beside "
        f"(1 / {slower:.1f}); one measurement takes {statistics.fmean(waits):.1f} s"
    )


if __name__ == "__main__":
    main()
