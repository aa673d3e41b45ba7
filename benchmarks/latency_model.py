"""How well a latency model that has measured few plans predicts others: held-out plans of named networks.

    python benchmarks/latency_model.py [--networks resnet20] [--runtimes onnxruntime] [--folder builds]

Measures probing plans (see `search/latency_samples.py`) and other plans, drawn as a search draws them, each beside the
network as it is. Models fitted to the first of the probing plans predict the others. With --folder, what was measured
is kept, and a second run only fits.
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
from scipy.stats import spearmanr

from autocompress.compression.student import make_student
from autocompress.evaluators.latency import Calibration, LatencyMeter
from autocompress.evaluators.latency_model import LatencyModel
from autocompress.evaluators.runtimes.base import BuildRequest
from autocompress.evaluators.runtimes.registry import get_runtime
from autocompress.search.prepare.latency_samples import probe_plans
from autocompress.spaces.axes.base import Choice, Ground, Number
from autocompress.spaces.neighbours.moves import Mover
from autocompress.spaces.plan import Plan
from autocompress.spaces.shapes import Shapes
from autocompress.spaces.space import Space, build_space
from autocompress.spaces.target import Target

Samples = list[tuple[Plan, float]]
SIZES = (2, 4, 8, 16, 32, 64)
AT_ONCE = 8
"""Files that take turns in one timing process."""


def other_plans(space: Space, count: int, seed: int = 1) -> list[Plan]:
    """Distinct plans as a search draws them: half of them drawn at random, half some moves away from such a plan."""
    random_, mover = random.Random(seed), Mover(space)
    found: dict[str, Plan] = {}
    while len(found) < count:
        latent = {
            name: random_.choice(p.options) if isinstance(p, Choice) else random_.uniform(p.low, p.high)
            for name, p in space.latent().items()
            if isinstance(p, Choice | Number)
        }
        plan = space.decode(latent)
        for _ in range(random_.choice((0, 6))):
            plan = mover.move(plan, random_)
        plan = replace(plan, recovery=None)
        found.setdefault(plan.shape_key(), plan)
    return list(found.values())


class Bench:
    """Measures plans of one network on one runtime (CPU, batch 1, 1 thread); what was measured is kept in `folder`."""

    def __init__(self, network: Network, runtime: str, folder: Path) -> None:
        self._network, self._runtime, self._target = network, get_runtime(runtime), Target(runtime)
        self._folder = folder / network.name / runtime
        ground = Ground(network.layers, network.groups, self._runtime.capabilities(self._target))
        self.space = build_space(ground, ("width", "channels", "bits"))

    def measure(self, plans: Sequence[Plan]) -> dict[str, float]:
        """Plan key -> median latency (ms). Measured in a random order, so that no kind of plan has a quieter hour."""
        kept = self._folder / "latencies.json"
        known: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
        missing = [plan for plan in plans if plan.key() not in known]
        random.Random(0).shuffle(missing)
        if missing:
            meter = LatencyMeter(self._target, self._build(Plan(), "reference"))
            calibration = Calibration.from_dict(known["calibration"]) if known else meter.calibrate()
            known["calibration"] = calibration.to_dict()
            meter = replace(meter, calibration=calibration)
        for at in range(0, len(missing), AT_ONCE):
            part = missing[at : at + AT_ONCE]
            paths = [self._build(plan, str(i)) for i, plan in enumerate(part)]
            known |= {plan.key(): latency.p50_ms for plan, latency in zip(part, meter.measure(paths), strict=True)}
            kept.write_text(json.dumps(known))
            print(f"    {at + len(part)} of {len(missing)} measured", flush=True)
        if missing:
            again = missing[:AT_ONCE]
            paths = [self._build(plan, str(i)) for i, plan in enumerate(again)]
            second = [latency.p50_ms for latency in meter.measure(paths)]
            off = [abs(ms / known[plan.key()] - 1) for ms, plan in zip(second, again, strict=True)]
            print(
                f"    {len(again)} plans measured twice: they differ by {np.median(off):.1%} (median), {max(off):.1%}"
            )
        return {plan.key(): known[plan.key()] for plan in plans}

    def _build(self, plan: Plan, name: str) -> Path:
        network = self._network
        student = make_student(network.module, network.groups, plan).module.eval()
        model = network.template.write(student)
        request = BuildRequest(model, network.template.layers, plan.bits, network.inputs.numpy(), student)
        path = self._folder / f"{name}{self._runtime.suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        self._runtime.build(request, path)
        return path


def compare(ground: Ground, probes: Samples, others: Samples) -> None:
    """Print how well models fitted to the first of the probing plans predict the other plans."""
    shapes = Shapes(ground)
    macs = np.array([float(shapes.of(plan).macs.sum()) for plan, _ in others])
    print("  plans  model                        multiply-accumulates alone")
    for size in [size for size in SIZES if size <= len(probes)]:
        known = probes[:size]
        model = LatencyModel.fit(ground, known)
        scale = np.median([ms / shapes.of(plan).macs.sum() for plan, ms in known])
        own = held_out([model.predict_ms(plan) for plan, _ in others], others)
        naive = held_out(macs * scale, others)
        print(f"  {size:5}  {own}  {naive}  (says {model.relative_error:.1%} of itself)", flush=True)


def held_out(predicted: ArrayLike, samples: Samples) -> str:
    """Rank correlation, median and 90 % quantile of the relative error."""
    ms = np.array([ms for _, ms in samples])
    off = np.abs(np.asarray(predicted) / ms - 1)
    rank = spearmanr(predicted, ms).statistic
    return f"rank {rank:.3f}, {np.median(off):6.1%}, {np.quantile(off, 0.9):6.1%}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["resnet20"], choices=NETWORKS)
    parser.add_argument("--runtimes", nargs="+", default=["onnxruntime"])
    parser.add_argument("--folder", type=Path, help="Where measurements are kept between runs.")
    parser.add_argument("--probes", type=int, default=64)
    parser.add_argument("--others", type=int, default=40, help="Plans that are held out.")
    options = parser.parse_args()
    print(f"{machine_line()}; batch 1, 1 thread")
    with tempfile.TemporaryDirectory() as passing:
        folder = options.folder or Path(passing)
        for name in options.networks:
            for runtime in options.runtimes:
                bench, start = Bench(Network(name), runtime, folder), time.perf_counter()
                probes, others = probe_plans(bench.space, options.probes), other_plans(bench.space, options.others)
                known = bench.measure([*probes, *others])
                seconds = time.perf_counter() - start
                print(f"{name} on {runtime}: {len(known)} plans measured in {seconds:.0f} s")
                compare(
                    bench.space.ground,
                    [(plan, known[plan.key()]) for plan in probes],
                    [(plan, known[plan.key()]) for plan in others],
                )


if __name__ == "__main__":
    main()
