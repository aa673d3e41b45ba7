"""What it is worth to search temperature and alpha, and what each aid of the teacher is worth, for the same students.

    python benchmarks/distillation_worth.py [STUDY ...] [--minutes 60] [--trials 20] [--seeds 3] [--widths 0.5 0.25]

Uniform students of each STUDY (digits and cifar10_resnet20 by default) are taught from the teacher's weights. Students
that are compared are cut alike and see the same batches in the same order: only how they are taught differs.

searched: temperature and alpha drawn by the search's own sampler (TPE), beginning with the defaults; the best of its
trainings on the validation split counts. fixed: the defaults in as many trainings, so in equal time, each with another
order of the data; again the best counts. A search alone would win by having more tries. aids: one training with each,
at a fixed weight, against one without.

All figures are the metric on the test split, which chose nothing. Differences are paired by width and seed, with 95 %
intervals (t). --minutes lowers the number of trainings until they fit, for each study.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from scipy.stats import t as student_t

from autocompress.compression.distill import Lessons
from autocompress.compression.first_look import outputs_with_bits
from autocompress.compression.student import make_student
from autocompress.search.evaluate.context import EvaluationContext
from autocompress.search.propose.by_hand import uniform
from autocompress.search.propose.samplers import Sampler
from autocompress.search.study import opened
from autocompress.spaces.axes.recovery import NUMBERS
from autocompress.spaces.space import Space
from autocompress.spaces.spec import Recovery, StudentSpec
from autocompress.studies.study_file import load_study

SEARCHED = {name: NUMBERS[name] for name in ("temperature", "alpha")}
AID_WEIGHTS = {"attention": 1.0, "hidden": 0.3, "relation": 1.0}
LEAST_TRIALS = 2


@dataclass(frozen=True)
class Taught:
    """One training.

    Attributes:
        recovery: How the student was taught.
        validation: Its metric there.
        test: Its metric there.
        seconds: Of the training.
    """

    recovery: Recovery
    validation: float
    test: float
    seconds: float


@dataclass(frozen=True)
class Trainer:
    """Teaches students of one study that are cut alike.

    Attributes:
        context: Of the study.
        spec: What becomes of the teacher.
    """

    context: EvaluationContext
    spec: StudentSpec

    def teach(self, recovery: Recovery, seed: int) -> Taught:
        """Teach a student in a way, in one order of the data."""
        context, spec = self.context, replace(self.spec, recovery=recovery)
        asked = context.recoverer.lessons
        # answers of earlier orders would only fill the memory, and all ways shall pay for theirs
        lessons = Lessons(asked.teacher, asked.last_layer, asked.device, asked.precise)
        schedule = replace(context.recoverer.schedule, seed=seed, rungs=(1.0,))
        recoverer = replace(context.recoverer, lessons=lessons, schedule=schedule)
        student = make_student(context.parent, spec)
        begun = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            fake = recoverer.recover(student, spec, 0, Path(folder) / "checkpoint.pt", lambda: False)
        seconds = time.monotonic() - begun
        task, found = context.task, []
        for split in (task.validation, task.test):
            rows = torch.arange(len(split))
            outputs = outputs_with_bits(
                student.module, fake, task.calibration, split, rows, context.recoverer.device, task.losses.precise
            )
            found.append(task.metric.quality(outputs, split.labels[rows]))
        return Taught(recovery, found[0], found[1], seconds)

    @property
    def default(self) -> Recovery:
        """How the study's students are taught where nothing is searched."""
        assert self.spec.recovery is not None
        return self.spec.recovery


def best(taught: Sequence[Taught]) -> Taught:
    """Return the training that a user would keep: the validation split says so."""
    return max(taught, key=lambda each: each.validation)


def searched_and_fixed(trainer: Trainer, trials: int, seed: int) -> tuple[list[Taught], list[Taught]]:
    """Return the trainings of a search over temperature and alpha, and as many with the defaults."""
    orders = [1000 * seed + number for number in range(trials)]
    first = trainer.teach(trainer.default, orders[0])
    searched, fixed = [first], [first]
    sampler = Sampler(SEARCHED, 1, seed)
    sampler.tell(0, {name: getattr(trainer.default, name) for name in SEARCHED}, [-first.validation])
    for number, order in enumerate(orders[1:], 1):
        ticket, latent = sampler.ask()
        drawn: dict[str, Any] = {name: SEARCHED[name].clip(float(value)) for name, value in latent.items()}
        searched.append(trainer.teach(replace(trainer.default, **drawn), order))
        sampler.tell(number, latent, [-searched[-1].validation], ticket)
        fixed.append(trainer.teach(trainer.default, order))
    return searched, fixed


def difference(pairs: Sequence[tuple[float, float]]) -> str:
    """Return the mean of first minus second, with its 95 % interval where there are several pairs."""
    apart = [a - b for a, b in pairs]
    if len(apart) < 2:
        return f"{apart[0]:+.4f} (one pair)"
    half = float(student_t.ppf(0.975, len(apart) - 1)) * statistics.stdev(apart) / len(apart) ** 0.5
    return f"{statistics.fmean(apart):+.4f} ± {half:.4f} ({len(apart)} pairs)"


def fitting_trials(minutes: float | None, wanted: int, training_s: float, students: int, aids: int) -> int:
    """Return how many trainings each of the two ways gets.

    Args:
        minutes: For the whole; None takes what is wanted.
        wanted: At most.
        training_s: Of one training.
        students: Pairs of a width and a seed.
        aids: Trainings beside, for each of them.
    """
    if minutes is None:
        return wanted
    each = 60 * minutes / training_s / students - aids  # their first training is one
    return max(LEAST_TRIALS, min(wanted, int((each + 1) // 2)))


def compare(context: EvaluationContext, space: Space, name: str, options: argparse.Namespace) -> None:
    """Print what was found for one study."""
    trainers = {width: Trainer(context, space.spec(uniform(space, width, 32))) for width in options.widths}
    begun = time.monotonic()
    once = trainers[options.widths[0]].teach(trainers[options.widths[0]].default, 0)
    took = time.monotonic() - begun
    students = len(options.widths) * options.seeds
    trials = fitting_trials(options.minutes, options.trials, took, students, len(AID_WEIGHTS))
    steps = context.recoverer.schedule.steps(context.recoverer.data)
    print(f"{name}: {steps} steps a training, {once.seconds:.1f} s; {trials} trainings a way and student", flush=True)
    of_search: list[tuple[float, float]] = []
    of_aids: dict[str, list[tuple[float, float]]] = {aid: [] for aid in AID_WEIGHTS}
    for width, trainer in trainers.items():
        here: list[tuple[float, float]] = []
        plain: list[Taught] = []
        for seed in range(options.seeds):
            searched, fixed = searched_and_fixed(trainer, trials, seed)
            plain.append(fixed[0])
            here.append((best(searched).test, best(fixed).test))
            chosen = best(searched).recovery
            print(f"  {width:.0%}, seed {seed}: T {chosen.temperature:g}, alpha {chosen.alpha:g}", flush=True)
        print(f"  {width:.0%} of the width: one training {statistics.fmean(one.test for one in plain):.4f}")
        print(f"    searched - fixed       {difference(here)}", flush=True)
        of_search += here
        for aid, weight in AID_WEIGHTS.items():
            shown: dict[str, Any] = {f"{aid}_weight": weight}
            recovery = replace(trainer.default, **shown)
            ways = [trainer.teach(recovery, 1000 * seed) for seed in range(options.seeds)]
            pairs = [(way.test, without.test) for way, without in zip(ways, plain, strict=True)]
            longer = sum(way.seconds for way in ways) / sum(without.seconds for without in plain)
            print(f"    {aid:9} {weight:g} - none   {difference(pairs)}, {longer:.2f} times as long", flush=True)
            of_aids[aid] += pairs
    print(f"  all widths: searched - fixed {difference(of_search)}")
    for aid, pairs in of_aids.items():
        print(f"  all widths: {aid} - none {difference(pairs)}", flush=True)


def main() -> None:
    """Compare on each study that the command line names."""
    from networks import machine_line

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="*", default=["digits", "cifar10_resnet20"])
    parser.add_argument("--minutes", type=float, help="For each study, about.")
    parser.add_argument("--trials", type=int, default=20, help="Trainings of each way, at most.")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--widths", type=float, nargs="+", default=[0.5, 0.25])
    parser.add_argument("--epochs", type=float, help="Of a training, in place of the study's.")
    parser.add_argument("--runs", type=Path, help="Keeps teachers for the next time.")
    options = parser.parse_args()
    print(f"{machine_line()}; torch {torch.__version__}, {torch.get_num_threads()} threads", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in options.studies:
            settings = load_study(name)
            if options.epochs is not None:
                settings = settings.changed("recovery", epochs=options.epochs)
            with opened(settings, None, options.runs or Path(folder), say=print) as study:
                compare(study.context, study.space, name, options)


if __name__ == "__main__":
    main()
