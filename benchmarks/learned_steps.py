"""What quantization-aware training is worth, and learned step sizes in it (LSQ): the same students, as files.

    python -m benchmarks.learned_steps [STUDY ...] [--bits 8 4] [--width 0.5] [--seeds 3] [--epochs E] [--runs FOLDER]

Uniform students of each STUDY (`digits` by default) are cut alike and see the same batches in the same order. They are
taught in float and quantized afterwards, with fake quantization towards the end, and with that and learned steps. Files
are built for the study's target; those with learned steps twice where it has 8-bit activations: with ranges from the
least to the largest value, and with the learned ones (`[recovery] calibration = "trained"`).

All figures are the metric of the files on the test split, which chose nothing, and of the float student. Differences
are paired by seed, with 95 % intervals (t).
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import torch

from autocompress.compression.recovered import load_recovered
from autocompress.compression.student import make_student
from autocompress.evaluators.activations import Activations
from autocompress.evaluators.artifact import ArtifactBuilder
from autocompress.evaluators.runtimes.calibrating import MINMAX, TRAINED
from autocompress.search.evaluate.build import file_accuracy
from autocompress.search.evaluate.context import EvaluationContext
from autocompress.search.propose.by_hand import uniform
from autocompress.search.study import opened
from autocompress.spaces.space import Space
from autocompress.spaces.spec import StudentSpec
from autocompress.studies.study_file import load_study
from benchmarks.techniques import mean

AFTER, AWARE = "int8 or int4 after training", "quantization-aware"
LEARNED, LEARNED_RANGES, FLOAT = "learned steps", "learned steps and ranges", "float"
WAYS = {AFTER: (False, False), AWARE: (True, False), LEARNED: (True, True)}
"""Way -> whether training is quantization-aware, whether steps are learned."""


def file_metrics(context: EvaluationContext, spec: StudentSpec, seed: int, folder: Path) -> dict[str, float]:
    """Teach one student in a way and return the metric of its files on the test split.

    Args:
        context: Of the study.
        spec: The student.
        seed: Of the order of the data.
        folder: For files.

    Returns:
        Method of calibration -> metric; and of "float", the file without bits, where the training knew of none.
    """
    (session,) = context.sessions.values()
    checkpoint = folder / "checkpoint.pt"
    checkpoint.unlink(missing_ok=True)
    schedule = replace(context.recoverer.schedule, seed=seed, rungs=(1.0,))
    recoverer = replace(context.recoverer, schedule=schedule)
    recoverer.recover(make_student(context.parent, spec), spec, 0, checkpoint, lambda: False)
    student = load_recovered(make_student(context.parent, spec), spec, checkpoint)
    learned = spec.recovery is not None and spec.recovery.learned_steps
    samples = context.task.validation.inputs(slice(0, 4))
    found = {}
    for method in (MINMAX, TRAINED) if learned and 8 in spec.bits.values() else (MINMAX,):
        builder = ArtifactBuilder(
            session.runtime,
            session.target,
            session.builder.templates,
            context.task.calibration,
            samples,
            Activations(method, context.task.losses.soft),
        )
        builder.teacher_file(folder / f"teacher{session.runtime.suffix}")
        file = folder / f"student{session.runtime.suffix}"
        builder.build(student.module, spec, file, trained=student.trained_ranges)
        found[method] = file_accuracy(context, session, file, context.task.test)
    if spec.recovery is not None and not spec.recovery.quantization_aware:
        builder.build(student.module, replace(spec, bits={}), file)
        found[FLOAT] = file_accuracy(context, session, file, context.task.test)
    return found


def compare(context: EvaluationContext, space: Space, width: float, bits: int, seeds: int) -> None:
    """Print what each way is worth for students of one width and some bits."""
    spec = space.spec(uniform(space, width, bits))
    assert spec.recovery is not None
    found: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(seeds):
            for way, (aware, learned) in WAYS.items():
                taught = replace(spec.recovery, quantization_aware=aware, learned_steps=learned)
                figures = file_metrics(context, replace(spec, recovery=taught), seed, Path(folder))
                found[way].append(figures[MINMAX])
                for other, name in ((TRAINED, LEARNED_RANGES), (FLOAT, FLOAT)):
                    if other in figures:
                        found[name].append(figures[other])
    low = sum(each == bits for each in spec.bits.values())
    print(f"\n{width:.0%} of the width, {low} of {len(context.network.layers)} layers in {bits} bits, {seeds} seeds\n")
    print("| way | test metric | against after training |")
    print("| --- | --- | --- |")
    for way, each in found.items():
        apart = mean([a - b for a, b in zip(each, found[AFTER], strict=True)], "+.4f")
        print(f"| {way} | {mean(list(each), '.4f')} | {'' if way == AFTER else apart} |", flush=True)


def main() -> None:
    """Compare on each study that the command line names."""
    from benchmarks.networks import machine_line

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="*", default=["digits"])
    parser.add_argument("--bits", type=int, nargs="+", default=[8, 4])
    parser.add_argument("--width", type=float, default=0.5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=float, help="Of a training, in place of the study's.")
    parser.add_argument("--runs", type=Path, help="Keeps teachers for the next time.")
    options = parser.parse_args()
    print(f"{machine_line()}; torch {torch.__version__}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in options.studies:
            settings = load_study(name).changed("budget", max_mb=10_000)  # where size counts there are 4 bits
            if options.epochs is not None:
                settings = settings.changed("recovery", epochs=options.epochs)
            with opened(settings, None, options.runs or Path(folder), say=print) as study:
                for bits in options.bits:
                    compare(study.context, study.space, options.width, bits, options.seeds)


if __name__ == "__main__":
    main()
