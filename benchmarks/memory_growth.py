"""What a process that builds one student after another takes in memory, and what a search makes of it.

    python benchmarks/memory_growth.py digits --builds 200 --runtime onnxruntime openvino

Students of random widths are made, exported in 8 bits and inspected, as a worker does. Printed is the resident memory
of the process after every twentieth. A worker process that has grown by a gigabyte since it was warm is replaced.
"""

from __future__ import annotations

import argparse
import gc
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
from networks import machine_line

from autocompress.compression.edits import Parent
from autocompress.compression.student import make_student
from autocompress.search.evaluate.context import open_context
from autocompress.search.evaluate.gate import CALIBRATION
from autocompress.spaces.spec import StudentSpec
from autocompress.studies.study_file import load_study

EVERY = 20


def grow(study: str, runtime: str, builds: int) -> None:
    """Build, and print how the memory stands."""
    settings = load_study(study).changed("target", runtime=runtime, profile_seconds=0)
    rng, own = random.Random(0), psutil.Process()
    with tempfile.TemporaryDirectory() as folder:
        context = open_context(settings.build_task().prepared(), settings, Path(folder))
        (session,) = context.sessions.values()
        groups, layers = context.network.groups, context.network.layers
        taken: list[float] = []
        for count in range(builds):
            channels = {group.name: rng.choice(group.choices(1, 0.25)) for group in groups}
            spec = StudentSpec(channels, {layer.name: 8 for layer in layers})
            student = make_student(Parent(context.task.teacher, groups), spec)
            path = Path(folder) / f"{count}{session.runtime.suffix}"
            session.builder.build(student.module, spec, path, CALIBRATION)
            session.runtime.inspect(path, session.target)
            path.unlink()
            if (count + 1) % EVERY == 0:
                gc.collect()
                taken.append(own.memory_info().rss / 1e6)
        shown = " ".join(f"{mb:.0f}" for mb in taken)
        each = (taken[-1] - taken[0]) / (builds - EVERY)
        print(f"{runtime}: MB after every {EVERY} builds: {shown}; {each:+.2f} MB a build")


def main() -> None:
    """Measure each runtime in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", nargs="?", default="digits")
    parser.add_argument("--builds", type=int, default=200)
    parser.add_argument("--runtime", nargs="+", default=["onnxruntime"])
    options = parser.parse_args()
    if options.builds < 2 * EVERY:
        parser.error(f"--builds: at least {2 * EVERY}")
    if len(options.runtime) == 1:
        grow(options.study, options.runtime[0], options.builds)
        return
    print(machine_line(), flush=True)
    for runtime in options.runtime:
        words = [sys.executable, __file__, options.study, "--builds", str(options.builds), "--runtime", runtime]
        subprocess.run(words, check=False)


if __name__ == "__main__":
    main()
