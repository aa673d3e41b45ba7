"""How long the gate takes: from a plan to a measured latency, before any training.

    python benchmarks/gate_speed.py [STUDY] [--plans 8]

It opens STUDY (default `digits`) with its teacher untrained, which no latency depends on, and gates random plans of its
space. It prints the seconds of each step, and beside them those of one export of a student by torch's own exporter.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from pathlib import Path

from random_plans import random_plan

from autocompress.compression.edits import Parent
from autocompress.compression.export import export_onnx
from autocompress.compression.student import make_student
from autocompress.evaluators.timing.machine import conditions
from autocompress.search.evaluate.context import open_context
from autocompress.search.evaluate.gate import time_shape
from autocompress.search.evaluate.job import Clock
from autocompress.search.prepare.space import prepare_space
from autocompress.search.propose.profile import ProfileEncoding
from autocompress.studies.study_file import load_study


def main() -> None:
    """Run what the command line asks for, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", nargs="?", default="digits")
    parser.add_argument("--plans", type=int, default=8)
    options = parser.parse_args()
    settings = load_study(options.study)
    task = settings.build_task().prepared()
    with tempfile.TemporaryDirectory() as folder:
        context = open_context(task, settings, Path(folder))
        space = prepare_space(context, settings, lambda line: None).space
        encoding = ProfileEncoding(space)
        specs = [space.spec(random_plan(encoding, random.Random(number))) for number in range(options.plans)]
        student = make_student(Parent(task.teacher, context.network.groups), specs[0]).module
        start = time.perf_counter()
        export_onnx(student, task.example_input)
        export_s = time.perf_counter() - start
        rows = []
        for spec in specs:
            clock, start = Clock(), time.perf_counter()
            time_shape(context, spec, clock)
            rows.append((clock.seconds["building"], clock.seconds["measuring"], time.perf_counter() - start))
        shown = conditions(context.targets[0], "")
    print(f"{options.study}, {options.plans} random plans; {shown['device_name']}, load {shown['load_1min']}")
    for name, seconds in zip(
        ("shrink, write, check, quantize", "load, time", "gate in all"), zip(*rows, strict=True), strict=True
    ):
        print(f"{name:31} {statistics.median(seconds):6.2f} s ({min(seconds):.2f} to {max(seconds):.2f})")
    print(f"{'one export by torch.onnx':31} {export_s:6.2f} s")


if __name__ == "__main__":
    main()
