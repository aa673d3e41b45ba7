"""Do stated intervals hold while a stranger trains now and then, and does the mark "disturbed" say when to doubt them?

    python benchmarks/repeatability.py [--network resnet20] [--repeats 20] [--neighbours 2]

It measures the same fp32 and int8 files again and again, each on its own beside the fp32 reference, once quiet and once
loaded in every repeat, in random order. The stranger does not know the quiet lock. The truth is the pooled value of the
quiet measurements. It counts how often that lay outside a measurement's own 95 % interval, apart for those marked
disturbed, and prints the spread of our ratio and p50 beside that of the median of a plain loop.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from neighbour import Neighbour
from networks import Network, Variant, machine_line
from timing_agreement import in_fresh_process

from autocompress.evaluators.latency import LatencyMeter
from autocompress.evaluators.measurement import Latency


@dataclass(frozen=True)
class Reading:
    """One measurement.

    Attributes:
        variant: Name of what was measured.
        loaded: Whether strangers trained meanwhile.
        latency: What we measured.
        plain_ms: Median of a plain loop of the same length.
    """

    variant: str
    loaded: bool
    latency: Latency
    plain_ms: float


def collect(meter: LatencyMeter, network: Network, folder: Path, options: argparse.Namespace) -> list[Reading]:
    """Measure again and again, and return all readings."""
    order, readings = random.Random(0), []
    variants = (Variant(), Variant(bits=8))
    for repeat in range(options.repeats):
        for loaded in order.sample((False, True), 2):
            with ExitStack() as street:
                for _ in range(options.neighbours if loaded else 0):
                    street.enter_context(Neighbour(threads=1))
                for variant in order.sample(variants, 2):
                    file = network.build("onnxruntime", variant, folder)
                    (latency,) = meter.measure([file.path], max_seconds=options.seconds)
                    plain_ms = in_fresh_process("loop", file, options.seconds)
                    readings.append(Reading(variant.name, loaded, latency, plain_ms))
                    print(
                        f"{repeat:3} {'loaded' if loaded else 'quiet':6} {variant.name:4} ratio {latency.ratio:.3f} "
                        f"({latency.ratio_low:.3f} to {latency.ratio_high:.3f}), p50 {latency.p50_ms:.3f} ms "
                        f"({latency.low_ms:.3f} to {latency.high_ms:.3f}), plain {plain_ms:.3f} ms"
                        + (" disturbed" if latency.disturbed else ""),
                        flush=True,
                    )
    return readings


def pooled(values: Sequence[float]) -> float:
    """Return the geometric mean: what disturbs a time multiplies it."""
    return math.exp(statistics.fmean(map(math.log, values)))


def spread(values: Sequence[float]) -> str:
    """Return the coefficient of variation in words."""
    return f"{statistics.stdev(values) / statistics.fmean(values):6.1%}" if len(values) > 1 else "     -"


def print_coverage(readings: Sequence[Reading]) -> None:
    """Print how often the truth lay outside the stated intervals."""
    print("\ntruth outside the measurement's own 95 % interval")
    truths = {}
    for variant in dict.fromkeys(r.variant for r in readings):
        quiet = [r.latency for r in readings if r.variant == variant and not r.loaded]
        truths[variant] = pooled([x.ratio for x in quiet]), pooled([x.p50_ms for x in quiet])
    for loaded in (False, True):
        for disturbed in (False, True):
            some = [r for r in readings if (r.loaded, r.latency.disturbed) == (loaded, disturbed)]
            wrong_ratio = sum(not r.latency.ratio_low <= truths[r.variant][0] <= r.latency.ratio_high for r in some)
            wrong_p50 = sum(not r.latency.low_ms <= truths[r.variant][1] <= r.latency.high_ms for r in some)
            where = f"{'loaded' if loaded else 'quiet'}, {'marked disturbed' if disturbed else 'not marked'}"
            print(f"{where:26} {len(some):3} measurements: ratio {wrong_ratio}, p50 {wrong_p50}")


def print_spread(readings: Sequence[Reading]) -> None:
    """Print how much the readings of one file differ."""
    print("\ncoefficient of variation                  our ratio  our p50  plain p50")
    for variant in dict.fromkeys(r.variant for r in readings):
        for name, states in (("quiet", (False,)), ("loaded", (True,)), ("both", (False, True))):
            some = [r for r in readings if r.variant == variant and r.loaded in states]
            ours = spread([r.latency.ratio for r in some]), spread([r.latency.p50_ms for r in some])
            print(f"{variant:10} {name:28}   {ours[0]}   {ours[1]}     {spread([r.plain_ms for r in some])}")
        shift = [pooled([r.latency.ratio for r in readings if (r.variant, r.loaded) == (variant, x)]) for x in (0, 1)]
        print(f"{variant:10} our ratio, loaded to quiet: {shift[1] / shift[0]:.3f}")


def main() -> None:
    """Run what the command line asks for, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="resnet20")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--neighbours", type=int, default=2, help="Strangers that train, with one thread each.")
    parser.add_argument("--seconds", type=float, default=1.0, help="Of timing per measurement.")
    options = parser.parse_args()
    network = Network(options.network)
    print(f"{machine_line()}; {options.network}, {options.repeats} repeats, {options.neighbours} neighbours")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        reference = network.build("onnxruntime", Variant(), folder)
        meter = LatencyMeter.calibrated(reference.target, reference.path)
        if meter.calibration is not None and meter.calibration.disturbed:
            print(f"the machine is not quiet to begin with: {meter.calibration.conditions['disturbances']}")
        readings = collect(meter, network, folder, options)
    print_coverage(readings)
    print_spread(readings)


if __name__ == "__main__":
    main()
