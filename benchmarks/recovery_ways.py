"""What other ways to teach are worth: optimizers, peak rates, averaged weights, norms estimated anew at the end.

    python benchmarks/recovery_ways.py [STUDY ...] [--widths 0.5 0.25] [--seeds 3] [--runs FOLDER]

Uniform students of each STUDY (a study file, `digits` by default) are taught from the teacher's weights in each way,
with the same batches for each seed. It prints the metric on the validation split: the mean over seeds of the first
way, and what each other way is above or below it, with 95 % intervals (t) of the paired differences. The learning rates
are those of the built-in way times a factor; AdamW's are its own.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from scipy.stats import t as student_t
from torch import Tensor, nn

from autocompress.compression.distill import Lessons
from autocompress.compression.norms import reestimate_norms
from autocompress.compression.recover import Recoverer
from autocompress.compression.student import make_student
from autocompress.search.evaluate.checkpoints import look_at
from autocompress.search.evaluate.context import EvaluationContext
from autocompress.search.propose.by_hand import uniform
from autocompress.search.study import opened
from autocompress.spaces.spec import ADAMW_PART
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
    """

    name: str
    factor: float = 1.0
    adam: float = 0.0
    averaged: bool = False
    norms: bool = False


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


def taught(context: EvaluationContext, space: Any, width: float, way: Way, seed: int) -> float:
    """Return the metric of a uniform student that was taught in a way."""
    built_in = context.recoverer
    spec = space.spec(uniform(space, width, 32))
    assert spec.recovery is not None
    rate = way.adam / ADAMW_PART or way.factor * spec.recovery.learning_rate
    optimizer = "adamw" if way.adam else "sgd"
    spec = replace(spec, recovery=replace(spec.recovery, learning_rate=rate, optimizer=optimizer))
    fields = {name: getattr(built_in, name) for name in built_in.__dataclass_fields__}
    fields["schedule"] = replace(built_in.schedule, seed=seed, rungs=(1.0,))
    # the teacher's answers are kept by place, and another seed has another order
    asked = built_in.lessons
    fields["lessons"] = Lessons(asked.teacher, asked.last_layer, asked.device, built_in.losses.precise)
    average: dict[str, Tensor] | None = {} if way.averaged else None
    recoverer = OtherWay(**fields, average=average)
    student = make_student(context.parent, spec)
    with tempfile.TemporaryDirectory() as folder:
        fake = recoverer.recover(student, spec, 0, Path(folder) / "checkpoint.pt", lambda: False)
    if average:
        with torch.no_grad():
            for name, value in student.module.named_parameters():
                value.copy_(average[name])
    if way.norms:
        reestimate_norms(student.module, context.task.calibration, 128)
    return look_at(context, student.module, fake)


def compare(context: EvaluationContext, space: Any, name: str, widths: Sequence[float], seeds: int) -> None:
    """Print a table for one study."""
    for width in widths:
        found = {way: [taught(context, space, width, way, seed) for seed in range(seeds)] for way in WAYS}
        first = found[WAYS[0]]
        print(f"{name}, {width:.0%} of the width: {WAYS[0].name} {statistics.fmean(first):.4f}", flush=True)
        for way in WAYS[1:]:
            apart = [a - b for a, b in zip(found[way], first, strict=True)]
            half = 0.0
            if seeds > 1:
                half = float(student_t.ppf(0.975, seeds - 1)) * statistics.stdev(apart) / seeds**0.5
            print(f"  {way.name:24} {statistics.fmean(apart):+.4f} ± {half:.4f}", flush=True)


def main() -> None:
    """Compare on each study that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="*", default=["digits"])
    parser.add_argument("--widths", type=float, nargs="+", default=[0.5, 0.25])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--runs", type=Path, help="Keeps teachers for the next time.")
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    with tempfile.TemporaryDirectory() as folder:
        for name in options.studies:
            with opened(load_study(name), None, options.runs or Path(folder), say=print) as study:
                compare(study.context, study.space, name, options.widths, options.seeds)


if __name__ == "__main__":
    main()
