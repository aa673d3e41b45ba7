"""How long the gate takes: from a plan to a measured latency, before any training.

    python benchmarks/gate_speed.py [STUDY] [--plans 8]

Opens STUDY (default `digits`) with its teacher untrained, which no latency depends on, and gates random plans of its
space. Prints the seconds of each step, and beside them one export of a student by torch's own exporter.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from pathlib import Path

from autocompress.compression.export import export_onnx
from autocompress.compression.student import make_student
from autocompress.evaluators.timing.machine import conditions
from autocompress.search.evaluate.context import open_workbench
from autocompress.search.evaluate.evaluation import Job, evaluate
from autocompress.spaces.axes.base import Number, Value
from autocompress.spaces.space import Space
from autocompress.studies.study_file import load_study


def draw(space: Space, source: random.Random) -> dict[str, Value]:
    """Latent numbers, evenly over their ranges."""
    found: dict[str, Value] = {}
    for name, parameter in space.latent().items():
        if isinstance(parameter, Number):
            found[name] = source.uniform(parameter.low, parameter.high)
        else:
            found[name] = source.choice(parameter.options)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", nargs="?", default="digits")
    parser.add_argument("--plans", type=int, default=8)
    options = parser.parse_args()
    settings = load_study(options.study)
    task = settings.build_task().prepared()
    with tempfile.TemporaryDirectory() as folder:
        bench = open_workbench(task, settings, Path(folder))
        start = time.perf_counter()
        export_onnx(
            make_student(task.teacher, (), bench.space.decode(draw(bench.space, random.Random(0)))).module,
            task.example_input,
        )
        export_s = time.perf_counter() - start
        rows = []
        for number in range(options.plans):
            plan = bench.space.decode(draw(bench.space, random.Random(number)))
            start = time.perf_counter()
            result = evaluate(bench, Job(number + 1, plan, "gate"))
            rows.append((result.seconds["building"], result.seconds["measuring"], time.perf_counter() - start))
        shown = conditions(bench.target, "")
    print(f"{options.study}, {options.plans} random plans; {shown['device_name']}, load {shown['load_1min']}")
    for name, seconds in zip(
        ("shrink, write, check, quantize", "load, time", "gate in all"), zip(*rows, strict=True), strict=True
    ):
        print(f"{name:31} {statistics.median(seconds):6.2f} s ({min(seconds):.2f} to {max(seconds):.2f})")
    print(f"{'one export by torch.onnx':31} {export_s:6.2f} s")


if __name__ == "__main__":
    main()
