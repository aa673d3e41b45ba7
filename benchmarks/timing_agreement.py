"""Our p50 beside what a user would time with instead, on the same files: do they agree on a quiet machine?

    python benchmarks/timing_agreement.py [--networks resnet20 mobilenet_v2] [--repeats 5] [--seconds 3]

Every tool runs in a fresh process with one thread and huge pages, as ours do, in random order, `--repeats` times: a
plain loop (median of all calls), torch.utils.benchmark (blocked_autorange), and for OpenVINO its own benchmark_app.
ONNX Runtime's perf_test is not part of its wheel. The machine drifts from minute to minute, so that each tool is held
against ours of the same repeat: printed are the median of each tool's medians, and the median ratio to ours with its
quartiles.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from autocompress.evaluators.bench import bench
from autocompress.evaluators.runtimes.registry import get_runtime
from autocompress.evaluators.timing.processes import TimedFile

RUNTIMES = ("onnxruntime", "openvino", "pytorch")


def runner(runtime: str, path: str) -> Callable[[], Any]:
    """Return one inference by the library itself, as its documentation shows it, with one thread."""
    import numpy as np

    if runtime == "onnxruntime":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        first = session.get_inputs()[0]
        image = _image([d if isinstance(d, int) else 1 for d in first.shape])
        return lambda: session.run(None, {first.name: image})
    if runtime == "openvino":
        import openvino

        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
        compiled = openvino.Core().compile_model(path, "CPU", settings)
        shape = compiled.inputs[0].get_partial_shape()
        image = _image([d.get_length() if d.is_static else 1 for d in shape])
        return lambda: compiled(image)
    import torch

    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    program = torch.export.load(path)
    shape = next(n for n in program.graph.nodes if n.name == program.graph_signature.user_inputs[0]).meta["val"].shape
    module = program.module()
    tensor = torch.from_numpy(np.asarray(_image([d if isinstance(d, int) else 1 for d in shape])))
    return lambda: module(tensor)


def _image(shape: list[int]) -> Any:
    import numpy as np

    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def loop_ms(run: Callable[[], Any], seconds: float) -> float:
    """Return the median (ms) of the loop that everybody writes, after ten calls to warm up."""
    for _ in range(10):
        run()
    walls: list[float] = []
    ends = time.perf_counter() + seconds
    while time.perf_counter() < ends or len(walls) < 10:
        start = time.perf_counter()
        run()
        walls.append(time.perf_counter() - start)
    return statistics.median(walls) * 1e3


def torch_ms(run: Callable[[], Any], seconds: float) -> float:
    """Return the median (ms) by torch's own tool."""
    from torch.utils.benchmark import Timer

    timer = Timer("run()", globals={"run": run}, num_threads=1)
    return float(timer.blocked_autorange(min_run_time=seconds).median) * 1e3


def benchmark_app_ms(path: str, image: tuple[int, ...], seconds: float) -> float:
    """Return the median (ms) by OpenVINO's tool: one request at a time, one thread, float32 left float32."""
    app = shutil.which("benchmark_app") or str(Path(sys.executable).with_name("benchmark_app"))
    shape = "[" + ",".join(map(str, (1, *image))) + "]"
    latency = ["-hint", "none", "-api", "sync", "-nstreams", "1", "-nthreads", "1", "-infer_precision", "f32"]
    command = [app, "-m", path, "-d", "CPU", *latency, "-t", str(max(1, round(seconds))), "-shape", shape]
    said = subprocess.run(command, capture_output=True, text=True, check=True, env=environment()).stdout
    found = re.search(r"Median:\s+([0-9.]+) (ms|us)", said)
    if found is None:
        raise RuntimeError(f"benchmark_app says no median: {said[-300:]}")
    return float(found.group(1)) / (1000 if found.group(2) == "us" else 1)


def environment() -> dict[str, str]:
    """Return pages and threads as in our own timing processes: pages alone are worth several percent."""
    return {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    }


def in_fresh_process(tool: str, file: TimedFile, seconds: float) -> float:
    """Return the median (ms) that a tool finds in a process of its own."""
    command = [sys.executable, __file__, "--tool", tool, file.target.runtime, str(file.path), "--seconds", str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
    return float(json.loads(done.stdout.splitlines()[-1]))


def tools(file: TimedFile, image: tuple[int, ...], seconds: float) -> dict[str, Callable[[], float]]:
    """Return what gives the median (ms) of each tool that times files of this runtime."""
    found: dict[str, Callable[[], float]] = {
        "autocompress": lambda: bench([file], processes=1, max_seconds=seconds)[0].p50_ms,
        "plain loop": lambda: in_fresh_process("loop", file, seconds),
        "torch.utils.benchmark": lambda: in_fresh_process("torch", file, seconds),
    }
    if file.target.runtime == "openvino":
        found["benchmark_app"] = lambda: benchmark_app_ms(str(file.path), image, seconds)
    return found


def main() -> None:
    """Run what the command line asks for, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["resnet20", "mobilenet_v2"])
    parser.add_argument("--runtimes", nargs="+", default=list(RUNTIMES), choices=RUNTIMES)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--tool", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.tool:
        tool, runtime, path = options.tool
        times = {"loop": loop_ms, "torch": torch_ms}[tool]
        print(json.dumps(times(runner(runtime, path), options.seconds)))
        return
    from networks import NETWORKS, Network, Variant, machine_line

    print(f"{machine_line()}; fp32, batch 1, 1 thread, {options.repeats} repeats of {options.seconds:g} s")
    order = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        for name in options.networks:
            for runtime in options.runtimes:
                state = get_runtime(runtime).available()
                if not state.ok:
                    print(f"{name:13} {runtime:12} absent: {state.reason}")
                    continue
                file = Network(name).build(runtime, Variant(), Path(folder))
                asked = tools(file, NETWORKS[name][2], options.seconds)
                medians: dict[str, list[float]] = {tool: [] for tool in asked}
                for _ in range(options.repeats):
                    for tool in order.sample(list(asked), len(asked)):
                        medians[tool].append(asked[tool]())
                for tool, values in medians.items():
                    ratios = [x / ours for x, ours in zip(values, medians["autocompress"], strict=True)]
                    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
                    print(
                        f"{name:13} {runtime:12} {tool:22} {statistics.median(values):8.3f} ms  "
                        f"{middle:.3f} x ours (quartiles {low:.3f} to {high:.3f})",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
