"""What other ways to teach are worth: optimizers, peak rates, averaged weights, norms anew, and training few weights.

    python benchmarks/recovery_ways.py [STUDY ...] [--few] [--widths 0.5 0.25] [--seeds 3] [--runs FOLDER]

Uniform students of each STUDY (a study file, `digits` by default) are taught from the teacher's weights in each way,
with the same batches for each seed. It prints the metric on the validation split: the mean over seeds of the first
way, and what each other way is above or below it, with 95 % intervals (t) of the paired differences. The learning rates
are those of the built-in way times a factor; AdamW's are its own. `--few` compares what is trained: all weights, the
last layer, biases and norms (BitFit), or updates of low rank (LoRA), with the rates and by the optimizer that the
study has. Each line has the seconds of a training too, and the memory that a step holds: weights, gradients, what the
optimizer keeps, and activations.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from scipy.stats import t as student_t
from torch import Tensor, nn

from autocompress.compression.distill import Lessons
from autocompress.compression.memory import StepBytes, StepMeter
from autocompress.compression.norms import reestimate_norms
from autocompress.compression.recover import Recoverer
from autocompress.compression.student import make_student
from autocompress.search.evaluate.checkpoints import look_at
from autocompress.search.evaluate.context import EvaluationContext
from autocompress.search.propose.by_hand import uniform
from autocompress.search.study import opened
from autocompress.spaces.spec import ADAMW_PART, Recovery
from autocompress.studies.study_file import load_study

DECAY = 0.99
"""Of the averaged weights, at each step."""


@dataclass(frozen=True)
class Way:
    """A way to teach.

    Attributes:
        name: Printed.
        factor: On the peak of the learning rate.
        adam: The peak rate of AdamW in place of SGD, 0.0 for SGD.
        averaged: Whether the student ends with the exponential moving average of its weights.
        norms: Whether batch norms are estimated anew at the end.
        tune: Which weights are trained; see `spaces.spec.TUNES`.
        rank: Of updates of low rank.
    """

    name: str
    factor: float = 1.0
    adam: float = 0.0
    averaged: bool = False
    norms: bool = False
    tune: str = "full"
    rank: int = Recovery.rank


WAYS = (
    Way("SGD"),
    Way("SGD, rate x 0.3", factor=0.3),
    Way("SGD, rate x 3", factor=3.0),
    Way("SGD, averaged weights", averaged=True, norms=True),
    Way("SGD, norms anew", norms=True),
    Way("AdamW 0.0003", adam=3e-4),
    Way("AdamW 0.001", adam=1e-3),
    Way("AdamW 0.003", adam=3e-3),
)
FEW = (
    Way("all weights"),
    *(
        Way(f"{name}, rate x {factor:g}", factor, tune=tune, rank=rank)
        for name, tune, rank in (
            ("last layer", "classifier", 8),
            ("BitFit", "bitfit", 8),
            ("LoRA of rank 4", "lora", 4),
            ("LoRA of rank 8", "lora", 8),
            ("QLoRA of rank 8", "qlora", 8),
        )
        for factor in (1.0, 3.0)
    ),
)


@dataclass(frozen=True)
class Taught:
    """What came of one training.

    Attributes:
        metric: On the validation split.
        seconds: Of the training.
        held: Memory of a step.
    """

    metric: float
    seconds: float
    held: StepBytes


@dataclass(frozen=True)
class OtherWay(Recoverer):
    """Trains in a way of its own; the schedule and the losses are the built-in ones.

    Attributes:
        average: Names of weights -> their moving average, empty to make none.
    """

    average: dict[str, Tensor] | None = field(default=None, compare=False)

    def _step(self, student: Any, module: nn.Module, *rest: Any) -> float:
        loss = super()._step(student, module, *rest)
        if self.average is not None:
            for name, value in module.named_parameters():
                kept = self.average.setdefault(name, value.detach().clone())
                kept.lerp_(value.detach(), 1 - DECAY)
        return loss


def taught(context: EvaluationContext, space: Any, width: float, way: Way, seed: int) -> Taught:
    """Teach a uniform student in a way."""
    built_in = context.recoverer
    spec = space.spec(uniform(space, width, 32))
    assert spec.recovery is not None
    rate = way.adam / ADAMW_PART or way.factor * spec.recovery.learning_rate
    optimizer = spec.recovery.optimizer if way in FEW else "adamw" if way.adam else "sgd"
    recovery = replace(spec.recovery, learning_rate=rate, optimizer=optimizer, tune=way.tune, rank=way.rank)
    spec = replace(spec, recovery=recovery)
    kept = {name: getattr(built_in, name) for name in built_in.__dataclass_fields__}
    kept["schedule"] = replace(built_in.schedule, seed=seed, rungs=(1.0,))
    # the teacher's answers are kept by place, and another seed has another order
    asked = built_in.lessons
    kept["lessons"] = Lessons(asked.teacher, asked.last_layer, asked.device, built_in.losses.precise)
    average: dict[str, Tensor] | None = {} if way.averaged else None
    recoverer = OtherWay(**kept, average=average)
    student = make_student(context.parent, spec)
    meter, started = StepMeter(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        fake = recoverer.recover(student, spec, 0, Path(folder) / "checkpoint.pt", lambda: False, meter)
    seconds = time.perf_counter() - started
    assert meter.largest is not None
    if average:
        with torch.no_grad():
            for name, value in student.module.named_parameters():
                value.copy_(average[name])
    if way.norms:
        reestimate_norms(student.module, context.task.calibration, 128)
    return Taught(look_at(context, student.module, fake), seconds, meter.largest)


def compare(
    context: EvaluationContext, space: Any, name: str, widths: Sequence[float], seeds: int, ways: Sequence[Way]
) -> None:
    """Print a table for one study."""
    for width in widths:
        taught(context, space, width, ways[0], seed=0)  # the first training of a process also warms it up
        # the ways in turn, so that what else a machine does meets all of them
        each = [{way: taught(context, space, width, way, seed) for way in ways} for seed in range(seeds)]
        found = {way: [one[way] for one in each] for way in ways}
        first = [one.metric for one in found[ways[0]]]
        print(f"{name}, {width:.0%} of the width: {ways[0].name} {statistics.fmean(first):.4f}{_cost(found[ways[0]])}")
        for way in ways[1:]:
            apart = [a.metric - b for a, b in zip(found[way], first, strict=True)]
            half = 0.0
            if seeds > 1:
                half = float(student_t.ppf(0.975, seeds - 1)) * statistics.stdev(apart) / seeds**0.5
            print(f"  {way.name:24} {statistics.fmean(apart):+.4f} ± {half:.4f}{_cost(found[way])}", flush=True)


def _cost(each: Sequence[Taught]) -> str:
    held = each[0].held
    parts = ", ".join(f"{getattr(held, f.name) / 1e6:.2f} {f.name}" for f in fields(held))
    return f"  {statistics.median(one.seconds for one in each):.1f} s, {held.total / 1e6:.2f} MB ({parts})"


def main() -> None:
    """Compare on each study that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="*", default=["digits"])
    parser.add_argument("--few", action="store_true", help="Compares what is trained.")
    parser.add_argument("--widths", type=float, nargs="+", default=[0.5, 0.25])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--runs", type=Path, help="Keeps teachers for the next time.")
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    with tempfile.TemporaryDirectory() as folder:
        for name in options.studies:
            with opened(load_study(name), None, options.runs or Path(folder), say=print) as study:
                compare(study.context, study.space, name, options.widths, options.seeds, FEW if options.few else WAYS)


if __name__ == "__main__":
    main()
