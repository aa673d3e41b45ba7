"""What ways to calibrate 8-bit files are worth: ranges of activations by several methods, and edits of the weights.

    python benchmarks/calibration_methods.py [STUDY ...] [--seeds 3] [--inputs 256] [--examples 2000] [--runs FOLDER]

The teacher of each STUDY (a study file, `digits` by default) is built with all layers in 8 bits in each way, from as
many calibration inputs, other ones for each seed. It prints the metric of the files on the validation split, how far
their answers are from the float file's (the task's divergence, in thousandths), the seconds of a build, and what
`auto` chose: means over seeds, with 95 % intervals (t) of the paired differences from "minmax".
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from scipy.stats import t as student_t

from autocompress.compression.quantization_edits import EDITS, FOR_EDITS
from autocompress.evaluators.activations import AUTO, Activations
from autocompress.evaluators.artifact import ArtifactBuilder
from autocompress.evaluators.runtimes.calibrating import METHODS, MINMAX, TRAINED
from autocompress.evaluators.runtimes.registry import get_runtime
from autocompress.evaluators.score import as_arrays, predict
from autocompress.evaluators.templates import Templates
from autocompress.spaces.inputs import call, count_of, divided, rows_of
from autocompress.spaces.layers import find_layers
from autocompress.spaces.spec import StudentSpec
from autocompress.spaces.target import Target
from autocompress.studies.study_file import load_study
from autocompress.studies.task import PreparedTask
from autocompress.studies.teacher import epochs_told, prepare_teacher


@dataclass(frozen=True)
class Found:
    """What came of one file: its metric, its distance from the float file, seconds, and its method."""

    metric: float
    distance: float
    seconds: float
    method: str


def prepared(name: str, folder: Path) -> PreparedTask:
    """Return the task of a study, with its teacher trained."""
    settings = load_study(name)
    task = settings.build_task().bare(print)
    folder.mkdir(parents=True, exist_ok=True)
    teacher = prepare_teacher(settings, task, folder, print, lambda: False, epochs_told(print))
    return replace(task, teacher=teacher).prepared(print)


def compare(task: PreparedTask, runtime_name: str, seeds: int, inputs: int, examples: int) -> None:
    """Print a table for one task."""
    runtime, target = get_runtime(runtime_name), Target(runtime_name, batch=32)
    data = task.validation
    shown = slice(0, min(examples, len(data)))
    given, labels = data.inputs(shown), data.labels[shown]
    network = task.teacher.cpu().eval()
    layers = [layer.name for layer in find_layers(network, task.example_input)]
    spec = StudentSpec(bits=dict.fromkeys(layers, 8))
    templates = Templates(network, task.example_input)
    ways = [method for method in METHODS if method != TRAINED]
    top = runtime.capabilities(target).weight_top
    ways = [*ways, *(f"{method}{edit}" for edit in EDITS for method in (MINMAX, "mse")), AUTO]
    found: dict[str, list[Found]] = defaultdict(list)
    with torch.no_grad():
        wanted = torch.cat([call(network, part).float() for part in divided(given, 256)])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for seed in range(seeds):
            order = torch.randperm(count_of(task.calibration), generator=torch.Generator().manual_seed(seed))
            calibration = rows_of(task.calibration, order[:inputs])
            for way in ways:
                activations = Activations(way.partition("+")[0], task.losses.soft)
                builder = ArtifactBuilder(
                    runtime, target, templates, calibration, rows_of(given, slice(0, 4)), activations
                )
                builder.teacher_file(folder / f"teacher{runtime.suffix}")
                begun = time.process_time()
                edit = EDITS.get(way.removeprefix(activations.method), lambda module, *_: module)
                module = edit(network, spec.bits, rows_of(calibration, slice(0, FOR_EDITS)), top)
                if module is None:
                    continue  # nothing to edit
                file = folder / f"int8{runtime.suffix}"
                artifact = builder.build(module, spec, file)
                seconds = time.process_time() - begun
                outputs = torch.from_numpy(predict(file, runtime, target, as_arrays(given)))
                distance = float(task.losses.soft(outputs, wanted, 1.0).mean())
                metric = task.metric.quality(outputs, labels)
                found[way].append(Found(metric, 1000 * distance, seconds, artifact.calibration))
    first = task.metric.quality(wanted, labels)
    print(f"\nfloat: {first:.4f} over {len(labels)} examples; {len(layers)} layers in 8 bits on {runtime_name}\n")
    print("| way | metric | against minmax | distance x 1000 | against minmax | seconds |")
    print("| --- | --- | --- | --- | --- | --- |")
    for way, each in found.items():
        metric, apart = means_apart([f.metric for f in each], [f.metric for f in found[MINMAX]])
        distance, further = means_apart([f.distance for f in each], [f.distance for f in found[MINMAX]])
        seconds = statistics.fmean(f.seconds for f in each)
        print(f"| {way} | {metric:.4f} | {apart} | {distance:.2f} | {further} | {seconds:.1f} |")
    print(f"\nauto chose: {', '.join(f.method for f in found[AUTO])}", flush=True)


def means_apart(values: Sequence[float], others: Sequence[float]) -> tuple[float, str]:
    """Return the mean of some values, and that of what they are above others, with its 95 % interval, in words."""
    differences = [a - b for a, b in zip(values, others, strict=True)]
    text = f"{statistics.fmean(differences):+.4f}"
    if len(differences) > 1:
        half = (
            float(student_t.ppf(0.975, len(differences) - 1)) * statistics.stdev(differences) / len(differences) ** 0.5
        )
        text += f" ± {half:.4f}"
    return statistics.fmean(values), text


def main() -> None:
    """Compare on each study that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="*", default=["digits"])
    parser.add_argument("--runtime", default="onnxruntime")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--inputs", type=int, default=256)
    parser.add_argument("--examples", type=int, default=2000)
    parser.add_argument("--runs", type=Path, help="Keeps teachers for the next time.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for study in options.studies:
            print(f"# {study}")
            task = prepared(study, (options.runs or Path(folder)) / Path(study).stem)
            compare(task, options.runtime, options.seeds, options.inputs, options.examples)


if __name__ == "__main__":
    main()
