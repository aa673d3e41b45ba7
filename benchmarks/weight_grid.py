"""What a smaller grid of weights is worth where kernels overflow: int8 files with codes up to 127, and up to 64.

    python -m benchmarks.weight_grid [STUDY ...] [--seeds 3] [--inputs 256] [--examples 2000] [--runs FOLDER]

The teacher of each STUDY (`digits` by default) is built with all layers in 8 bits for ONNX Runtime and OpenVINO, from
as many calibration inputs, other ones for each seed. It prints the metric of the files on the validation split and how
far their answers are from the float network's (the task's divergence, in thousandths): means over seeds, with 95 %
intervals (t) of what changes with the smaller grid. It says which grid is taken on this CPU.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from autocompress.evaluators.activations import Activations
from autocompress.evaluators.artifact import ArtifactBuilder
from autocompress.evaluators.runtimes import onnx_runtime, openvino
from autocompress.evaluators.runtimes.base import Runtime
from autocompress.evaluators.runtimes.onnx_overflow import SAFE_TOP
from autocompress.evaluators.score import as_arrays, predict
from autocompress.evaluators.templates import Templates
from autocompress.evaluators.timing.machine import conditions
from autocompress.spaces.inputs import call, count_of, divided, rows_of
from autocompress.spaces.layers import find_layers
from autocompress.spaces.spec import StudentSpec
from autocompress.spaces.target import INT8_TOP, Target
from autocompress.studies.task import PreparedTask

from .calibration_methods import means_apart, prepared

RUNTIMES: dict[str, tuple[Any, Runtime]] = {
    "onnxruntime": (onnx_runtime, onnx_runtime.OnnxRuntime()),
    "openvino": (openvino, openvino.OpenVino()),
}
"""Name -> the module that says which grid is taken, and the runtime."""


def compare(task: PreparedTask, name: str, seeds: int, inputs: int, examples: int) -> None:
    """Print the rows of one task.

    Args:
        task: The task.
        name: Of its study.
        seeds: How often calibration inputs are drawn.
        inputs: How many of them.
        examples: Of the validation split, at most.
    """
    shown = slice(0, min(examples, len(task.validation)))
    given, labels = task.validation.inputs(shown), task.validation.labels[shown]
    network = task.teacher.cpu().eval()
    spec = StudentSpec(bits={layer.name: 8 for layer in find_layers(network, task.example_input)})
    templates = Templates(network, task.example_input)
    with torch.no_grad():
        wanted = torch.cat([call(network, part).float() for part in divided(given, 256)])
    first = task.metric.quality(wanted, labels)
    for runtime_name, (module, runtime) in RUNTIMES.items():
        target = Target(runtime_name, batch=32)
        metrics: dict[int, list[float]] = {INT8_TOP: [], SAFE_TOP: []}
        distances: dict[int, list[float]] = {INT8_TOP: [], SAFE_TOP: []}
        for seed in range(seeds):
            order = torch.randperm(count_of(task.calibration), generator=torch.Generator().manual_seed(seed))
            calibration = rows_of(task.calibration, order[:inputs])
            activations = Activations(divergence=task.losses.soft)
            builder = ArtifactBuilder(runtime, target, templates, calibration, rows_of(given, slice(0, 4)), activations)
            for top in metrics:
                with tempfile.TemporaryDirectory() as place, patch.object(module, "weight_top", lambda top=top: top):
                    folder = Path(place)
                    builder.teacher_file(folder / f"teacher{runtime.suffix}")
                    builder.build(network, spec, folder / f"int8{runtime.suffix}")
                    answers = predict(folder / f"int8{runtime.suffix}", runtime, target, as_arrays(given))
                outputs = torch.from_numpy(answers)
                metrics[top].append(task.metric.quality(outputs, labels))
                distances[top].append(1000 * float(task.losses.soft(outputs, wanted, 1.0).mean()))
        for top in metrics:
            metric, gained = means_apart(metrics[top], metrics[INT8_TOP])
            distance, further = means_apart(distances[top], distances[INT8_TOP])
            taken = ", taken here" if module.weight_top() == top else ""
            row = f"{name} (float: {first:.4f}) | {runtime_name} | {top}{taken}"
            print(f"| {row} | {metric:.4f} | {gained} | {distance:.2f} | {further} |", flush=True)


def main() -> None:
    """Compare on each study that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="*", default=["digits"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--inputs", type=int, default=256)
    parser.add_argument("--examples", type=int, default=2000)
    parser.add_argument("--runs", type=Path, help="Keeps teachers for the next time.")
    options = parser.parse_args()
    here = conditions(Target(), "")
    print(f"{here['device_name']}, {' '.join(here['instruction_sets'] or ())}\n", flush=True)
    print("| study | runtime | largest code | metric | against 127 | distance x 1000 | against 127 |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in options.studies:
            task = prepared(name, (options.runs or Path(folder)) / Path(name).stem)
            compare(task, Path(name).stem, options.seeds, options.inputs, options.examples)


if __name__ == "__main__":
    main()
