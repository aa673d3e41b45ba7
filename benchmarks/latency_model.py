"""How well a latency model that has measured few plans predicts others: held-out plans of named networks.

    python benchmarks/latency_model.py [--networks resnet20] [--runtimes onnxruntime] [--folder builds]

It measures the plans that a study times first (see `search/prepare/latency_samples.py`) and other plans, drawn as a
search draws them, each beside the network as it is. Models fitted to the first of the former predict the latter. With
--folder, what was measured is kept, and a second run only fits.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from networks import NETWORKS, Network, machine_line
from numpy.typing import ArrayLike
from random_plans import changed_plan, random_plan
from scipy.stats import spearmanr

from autocompress.compression.edits import Parent
from autocompress.compression.student import make_student
from autocompress.evaluators.latency import Calibration, LatencyMeter
from autocompress.evaluators.latency_model import LatencyModel
from autocompress.evaluators.runtimes.base import BuildRequest
from autocompress.evaluators.runtimes.registry import get_runtime
from autocompress.search.prepare.latency_samples import sample_plans
from autocompress.search.propose.profile import ProfileEncoding
from autocompress.spaces.context import SpaceContext
from autocompress.spaces.plain import from_plain, to_plain
from autocompress.spaces.shapes import Shapes
from autocompress.spaces.space import Space, build_space
from autocompress.spaces.spec import StudentSpec
from autocompress.spaces.target import Target

Samples = list[tuple[StudentSpec, float]]
SIZES = (2, 4, 8, 16, 32, 64)
AT_ONCE = 8
"""Number of files that take turns in one timing process."""


def first_shapes(space: Space, count: int) -> list[StudentSpec]:
    """Return the shapes that a study times first."""
    return [space.spec(plan) for plan in sample_plans(space, count)]


def other_shapes(space: Space, count: int, seed: int = 1) -> list[StudentSpec]:
    """Return distinct shapes as a search draws them: half of them at random, half some moves away from such a plan."""
    random_, encoding = random.Random(seed), ProfileEncoding(space)
    found: dict[StudentSpec, None] = {}
    while len(found) < count:
        plan = random_plan(encoding, random_)
        for _ in range(random_.choice((0, 6))):
            plan = changed_plan(space, plan, random_)
        found[replace(space.spec(plan), recovery=None)] = None
    return list(found)


class Bench:
    """Measures shapes of one network on one runtime (CPU, batch 1, 1 thread).

    Attributes:
        space: What plans are drawn from.
    """

    def __init__(self, network: Network, runtime: str, folder: Path) -> None:
        """Measure nothing yet; what was measured before is kept in `folder`."""
        self._network, self._runtime, self._target = network, get_runtime(runtime), Target(runtime)
        self._folder = folder / network.name / runtime
        self.space = build_space(network.context(self._runtime.capabilities(self._target)), ("channels", "bits"))

    def measure(self, shapes: Sequence[StudentSpec]) -> dict[StudentSpec, float]:
        """Return median latencies (ms).

        Shapes are measured in a random order, so that no kind of them has a quieter hour.
        """
        kept = self._folder / "latencies.json"
        known: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
        missing = [shape for shape in shapes if shape.key() not in known]
        random.Random(0).shuffle(missing)
        if missing:
            meter = LatencyMeter(self._target, self._build(StudentSpec(), "reference"))
            calibration = from_plain(Calibration, known["calibration"]) if known else meter.calibrate()
            known["calibration"] = to_plain(calibration)
            meter = replace(meter, calibration=calibration)
        for at in range(0, len(missing), AT_ONCE):
            part = missing[at : at + AT_ONCE]
            paths = [self._build(shape, str(i)) for i, shape in enumerate(part)]
            known |= {shape.key(): latency.p50_ms for shape, latency in zip(part, meter.measure(paths), strict=True)}
            kept.write_text(json.dumps(known))
            print(f"    {at + len(part)} of {len(missing)} measured", flush=True)
        if missing:
            again = missing[:AT_ONCE]
            paths = [self._build(shape, str(i)) for i, shape in enumerate(again)]
            second = [latency.p50_ms for latency in meter.measure(paths)]
            off = [abs(ms / known[shape.key()] - 1) for ms, shape in zip(second, again, strict=True)]
            print(
                f"    {len(again)} plans measured twice: they differ by {np.median(off):.1%} (median), {max(off):.1%}"
            )
        return {shape: known[shape.key()] for shape in shapes}

    def _build(self, spec: StudentSpec, name: str) -> Path:
        network = self._network
        student = make_student(Parent(network.module, network.groups), spec).module.eval()
        model = network.template.write(student)
        request = BuildRequest(model, network.template.layers, spec.bits, network.inputs.numpy(), student)
        path = self._folder / f"{name}{self._runtime.suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        self._runtime.build(request, path)
        return path


def compare(context: SpaceContext, first: Samples, others: Samples) -> None:
    """Print how well models fitted to the first shapes predict the others."""
    shapes = Shapes(context)
    macs = np.array([float(shapes.of(spec).macs.sum()) for spec, _ in others])
    print("  plans  model                        multiply-accumulates alone")
    for size in [size for size in SIZES if size <= len(first)]:
        known = first[:size]
        model = LatencyModel.fit(context, known)
        scale = np.median([ms / shapes.of(spec).macs.sum() for spec, ms in known])
        own = held_out([model.predict_ms(spec) for spec, _ in others], others)
        naive = held_out(macs * scale, others)
        print(f"  {size:5}  {own}  {naive}  (says {model.relative_error:.1%} of itself)", flush=True)


def held_out(predicted: ArrayLike, samples: Samples) -> str:
    """Return rank correlation, median and 90 % quantile of the relative error in words."""
    ms = np.array([ms for _, ms in samples])
    off = np.abs(np.asarray(predicted) / ms - 1)
    rank = spearmanr(predicted, ms).statistic
    return f"rank {rank:.3f}, {np.median(off):6.1%}, {np.quantile(off, 0.9):6.1%}"


def main() -> None:
    """Run what the command line asks for, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["resnet20"], choices=NETWORKS)
    parser.add_argument("--runtimes", nargs="+", default=["onnxruntime"])
    parser.add_argument("--folder", type=Path, help="Where measurements are kept between runs.")
    parser.add_argument("--first", type=int, default=64, help="Plans that a model may be fitted to.")
    parser.add_argument("--others", type=int, default=40, help="Plans that are held out.")
    options = parser.parse_args()
    print(f"{machine_line()}; batch 1, 1 thread")
    with tempfile.TemporaryDirectory() as passing:
        folder = options.folder or Path(passing)
        for name in options.networks:
            for runtime in options.runtimes:
                bench, start = Bench(Network(name), runtime, folder), time.perf_counter()
                first, others = first_shapes(bench.space, options.first), other_shapes(bench.space, options.others)
                known = bench.measure([*first, *others])
                seconds = time.perf_counter() - start
                print(f"{name} on {runtime}: {len(known)} plans measured in {seconds:.0f} s")
                compare(
                    bench.space.context,
                    [(spec, known[spec]) for spec in first],
                    [(spec, known[spec]) for spec in others],
                )


if __name__ == "__main__":
    main()
