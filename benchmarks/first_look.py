"""What a look at an untrained student is worth, and what a student gains from a neighbour's weights.

    python benchmarks/first_look.py [STUDY] [--plans 24] [--bands 4] [--children 12] [--epochs 2] [--seeds 2]

It draws plans of STUDY's space in bands of equal compression, looks at each student before any training, trains all of
them with one and the same recovery, and prints how well each figure that was known before orders them by final
accuracy: Kendall's tau-b over all pairs and over pairs of one band, with 95 % bootstrap intervals over plans, and what
taking its favourite of each band costs. "another seed" is the most that anything can tell. Then come children of
recovered parents, one to three moves away, trained from the teacher's weights and from the parent's. With --runs, what
was trained is kept, and a second run goes on.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from networks import machine_line
from orders import Numbers, lost_by, mean_with_interval, tau_with_interval
from random_plans import changed_plan, random_plan
from torch import Tensor

from autocompress.compression.distill import Lessons
from autocompress.compression.edits import Parent
from autocompress.compression.fake_quant import FakeQuantizer
from autocompress.compression.first_look import LOOK_IMAGES, first_look, outputs_with_bits
from autocompress.compression.precision import training_dtype
from autocompress.compression.recovered import read_weights
from autocompress.compression.seeds import seeded_generator
from autocompress.compression.student import make_student
from autocompress.compression.warm_start import distance, warm_parent
from autocompress.search.evaluate.checkpoints import checkpoint_path
from autocompress.search.evaluate.context import EvaluationContext
from autocompress.search.evaluate.evaluation import evaluate
from autocompress.search.evaluate.job import Job
from autocompress.search.propose.profile import ProfileEncoding
from autocompress.search.study import opened
from autocompress.spaces.plan import Plan
from autocompress.spaces.space import Space
from autocompress.spaces.spec import StudentSpec
from autocompress.studies.study_file import load_study

POOL = 30
"""Draws for each plan that is taken: bands are narrow."""


@dataclass(frozen=True)
class Drawn:
    """A plan that was drawn.

    Attributes:
        plan: The plan, taught as by default.
        spec: What it does to the teacher.
        cost: What it is predicted to cost: the multiply-accumulates of all layers times the root of bits / 32, over the
            teacher's.
        band: Number of its band.
    """

    plan: Plan
    spec: StudentSpec
    cost: float
    band: int


def alike(space: Space, plan: Plan) -> Plan:
    """Return the plan taught as by default: all trainings are to be the same."""
    return space.repair(plan.without("recovery").changed(space.taught.choices))


def draw(context: EvaluationContext, space: Space, count: int, bands: int, seed: int) -> list[Drawn]:
    """Return plans as a search proposes them, profiles with up to three moves, nearest to `bands` levels of cost."""
    random_, encoding = random.Random(seed), ProfileEncoding(space)
    pool: dict[Plan, Drawn] = {}
    while len(pool) < POOL * count:
        plan = random_plan(encoding, random_)
        for _ in range(random_.randrange(4)):
            plan = changed_plan(space, plan, random_)
        plan = alike(space, plan)
        spec = space.spec(plan)
        pool[plan] = Drawn(plan, spec, cost(context, spec), 0)
    ordered = sorted(pool.values(), key=lambda drawn: drawn.cost)
    low, high = (np.log(ordered[int(part * (len(ordered) - 1))].cost) for part in (0.1, 0.9))
    found: list[Drawn] = []
    for band, level in enumerate(np.linspace(low, high, bands)):
        ordered.sort(key=lambda drawn, level=level: abs(float(np.log(drawn.cost) - level)))  # type: ignore[misc]
        taken = {drawn.plan for drawn in found}
        near = [drawn for drawn in ordered if drawn.plan not in taken][: count // bands]
        found += [replace(drawn, band=band) for drawn in near]
    return found


def cost(context: EvaluationContext, spec: StudentSpec) -> float:
    """Return the predicted cost of a student; see `Drawn`."""
    layers = context.network.layers
    weights = make_student(context.parent, spec).module.state_dict()
    bits, areas = spec.realised(spec.bits), spec.realised({layer.name: layer.area for layer in layers})
    macs = {n: weights[f"{n}.weight"].numel() * area for n, area in areas.items() if f"{n}.weight" in weights}
    paid = sum(count * (bits.get(name, 32) / 32) ** 0.5 for name, count in macs.items())
    return float(paid) / sum(layer.macs for layer in layers)


def known_before(context: EvaluationContext, spec: StudentSpec, taught: torch.nn.Module) -> dict[str, float]:
    """Return figures of a student of `taught` that need no training, larger is better, and the seconds of the look."""
    groups, task, device = context.network.groups, context.task, context.recoverer.device
    seen: list[Tensor] = []

    def metric(outputs: Tensor, labels: Tensor) -> float:
        seen.append(outputs)
        return task.metric.quality(outputs, labels)

    rows = torch.randperm(len(task.validation), generator=seeded_generator("look"))[:LOOK_IMAGES]
    stale = make_student(Parent.of(taught, context.network), spec).module.to(device)
    bits, ways = spec.realised(spec.bits), spec.realised(spec.activations)
    fake = FakeQuantizer(stale, bits, activations=ways)
    outputs = outputs_with_bits(stale, fake, task.calibration, task.validation, rows, device)
    start = time.perf_counter()
    student = make_student(Parent.of(taught, context.network), spec)
    fake = FakeQuantizer(student.module, bits, activations=ways)
    accuracy = first_look(student, fake, task.calibration, task.validation, metric, device)
    seconds, asked = time.perf_counter() - start, context.recoverer.lessons.teacher
    said = outputs_with_bits(asked, FakeQuantizer(asked, {}), task.calibration, task.validation, rows, device)
    counts = [(group, spec.channels.get(group.name, group.channels)) for group in groups]
    kept = [float(group.importance[group.keep(count)].sum() / group.importance.sum()) for group, count in counts]
    weights = sum(parameter.numel() for parameter in student.module.parameters())
    return {
        "first look": accuracy,
        "look, stale norms": task.metric.quality(outputs, task.validation.labels[rows]),
        "look, -KL from the teacher": -float(F.kl_div(seen[0].log_softmax(1), said.softmax(1), reduction="batchmean")),
        "cost": cost(context, spec),
        "MACs kept": cost(context, replace(spec, bits={})),
        "weights kept": float(weights),
        "magnitude kept": statistics.mean(kept),
        "seconds": seconds,
    }


def for_seed(context: EvaluationContext, epochs: float | None, seed: int, folder: Path) -> EvaluationContext:
    """Return the context with trainings of another length and seed, kept apart from others."""
    old = context.recoverer
    schedule = replace(old.schedule, seed=seed, epochs=epochs or old.schedule.epochs)
    # what the teacher said belongs to the batches of one seed
    lessons = Lessons(old.lessons.teacher, old.lessons.last_layer, old.device)
    recoverer = replace(old, schedule=schedule, lessons=lessons)
    return replace(context, recoverer=recoverer, folder=folder / f"{schedule.epochs:g}-epochs-seed-{seed}")


def trained(context: EvaluationContext, spec: StudentSpec) -> list[float]:
    """Return the accuracy after each rung."""
    found = []
    for rung in range(len(context.recoverer.schedule.rungs)):
        result = evaluate(context, Job(0, spec, "rung", rung))
        if result.accuracy is None:
            raise SystemExit(f"a training failed: {result.failure or 'stopped'}")
        found.append(result.accuracy)
    return found


def print_orders(drawn: Sequence[Drawn], figures: Sequence[dict[str, float]], rungs: Numbers, parts: Numbers) -> None:
    """Print how well each figure orders the plans.

    Args:
        drawn: The plans.
        figures: What was known before of each.
        rungs: Accuracies [seeds, N, rungs].
        parts: Of the training, at which the rungs end.
    """
    bands = np.array([each.band for each in drawn])
    final, same = rungs[:, :, -1], bands[:, None] == bands
    for band in sorted(set(bands.tolist())):
        costs = [each.cost for each in drawn if each.band == band]
        looks = [f["first look"] for f, b in zip(figures, bands, strict=True) if b == band]
        ends = final[:, bands == band].mean(0)
        print(
            f"band of {len(costs)}: cost {min(costs):.2f} to {max(costs):.2f}, first look {min(looks):.3f} to "
            f"{max(looks):.3f}, final {ends.min():.3f} to {ends.max():.3f} (sd {ends.std():.4f})"
        )
    predictors = {name: np.array([[f[name] for f in figures]] * len(final)) for name in figures[0] if name != "seconds"}
    for number, part in enumerate(parts[:-1]):
        predictors[f"after {part:.0%} of training"] = rungs[:, :, number]
    if len(final) > 1:
        predictors["another seed, all of it"] = np.roll(final, 1, axis=0)
    print(f"\n{'known before':28}  {'tau, all pairs':22}  {'tau, within bands':22}  favourite of a band is worse by")
    print(f"{'none: any of a band':76}  {lost_by(np.zeros_like(final), final, bands):.2f} points")
    for name, predicted in predictors.items():
        taus = [tau_with_interval(predicted, final, pairs) for pairs in (np.ones_like(same), same)]
        print(f"{name:28}  {taus[0]:22}  {taus[1]:22}  {lost_by(predicted, final, bands):.2f} points")


def print_warm_starts(contexts: Sequence[EvaluationContext], space: Space, parents: Sequence[Drawn], seed: int) -> None:
    """Print what one child of each parent gains: the same trainings from two starts."""
    random_, groups = random.Random(seed), contexts[0].network.groups
    rows, apart = [], []
    for number, parent in enumerate(parents):
        child = parent.spec
        while child.training_key() == parent.spec.training_key():
            plan = parent.plan
            for _ in range(1 + number % 3):
                plan = alike(space, changed_plan(space, plan, random_))
            child = space.spec(plan)
        apart.append(distance(parent.spec, child, groups))
        for context in contexts:
            teacher = context.task.teacher
            trained(context, parent.spec)
            path = checkpoint_path(context.folder, parent.spec, len(context.recoverer.schedule.rungs) - 1)
            taught: Any = warm_parent(Parent.of(teacher, context.network), parent.spec, read_weights(path))
            own = context.folder / f"from-{parent.spec.training_key()}"
            warm = replace(context, task=replace(context.task, teacher=taught.module), folder=own)
            looks = [known_before(context, child, start)["first look"] for start in (teacher, taught.module)]
            rows.append([[looks[0], *trained(context, child)], [looks[1], *trained(warm, child)]])
            say(f"child {number + 1} of {len(parents)}")
    found = np.array(rows).reshape(len(parents), len(contexts), 2, -1)  # [children, seeds, start, look and rungs]
    gain = found[:, :, 1] - found[:, :, 0]
    print(f"\n{len(parents)} children, 1 to 3 moves from their parents, distance {min(apart):.3f} to {max(apart):.3f}")
    print(f"{'':24}  from the teacher  from the parent  paired difference")
    parts = [f"after {part:.0%} of training" for part in contexts[0].recoverer.schedule.rungs]
    for i, name in enumerate(["untrained (first look)", *parts]):
        teacher_, parent_ = found[:, :, :, i].mean((0, 1))
        print(f"{name:24}  {teacher_:16.4f}  {parent_:15.4f}  {mean_with_interval(gain[:, :, i].mean(1))}")
    early = found[:, :, 1, 1:].mean(1) - found[:, :, 0, -1:].mean(1)
    print("from the parent, less all of a training from the teacher:")
    for i, name in enumerate(parts):
        print(f"{name:24}  {'':16}  {'':15}  {mean_with_interval(early[:, i])}")
    told, came = gain[:, :, 0].flatten(), gain[:, :, -1].flatten()
    decided = (told != 0) & (came != 0)
    right = int((np.sign(told) == np.sign(came))[decided].sum())
    order = tau_with_interval(told[None], came[None], np.full((len(told),) * 2, True))
    print(
        f"the better first look had the better end in {right} of {int(decided.sum())} trainings "
        f"({int((came > 0).sum())} of {len(came)} were better from the parent); tau of the two gains {order}"
    )


def say(line: str) -> None:
    """Print a line beside the results."""
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """Run what the command line asks for, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", nargs="?", default="digits")
    parser.add_argument("--plans", type=int, default=24)
    parser.add_argument("--bands", type=int, default=4)
    parser.add_argument("--children", type=int, default=12, help="0 leaves warm starts out.")
    parser.add_argument("--epochs", type=float, help="Of each training; by default the study's.")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--runs", type=Path, help="Where trainings are kept; by default nowhere.")
    options = parser.parse_args()
    settings = load_study(options.study).changed("target", profile_seconds=0.0)
    with (
        tempfile.TemporaryDirectory() as passing,
        opened(settings, None, options.runs or Path(passing), say=say) as study,
    ):
        context, folder = study.context, study.folder / "first_look"
        drawn = draw(context, study.space, options.plans, options.bands, seed=0)
        contexts = [for_seed(context, options.epochs, seed, folder) for seed in range(options.seeds)]
        schedule, device = contexts[0].recoverer.schedule, context.recoverer.device
        steps = context.task.train.epoch_plan(0, schedule.batch_size, 0).steps
        print(
            f"{options.study}, {len(drawn)} plans in {options.bands} bands, {options.seeds} seeds, "
            f"{schedule.epochs:g} epochs of {steps} steps; {len(context.task.validation)} validation images; "
            f"{machine_line()}, {torch.get_num_threads()} threads, {training_dtype(device)} on {device}"
        )
        figures = [known_before(context, each.spec, context.task.teacher) for each in drawn]
        start = time.perf_counter()
        rungs = []
        for number, each in enumerate(drawn):
            rungs.append([trained(one, each.spec) for one in contexts])
            say(f"plan {number + 1} of {len(drawn)}: {figures[number]['first look']:.3f}, then {rungs[-1]}")
        taken = (time.perf_counter() - start) / len(drawn) / len(contexts)
        print(f"a first look takes {statistics.median(f['seconds'] for f in figures):.2f} s, a training {taken:.1f} s")
        print_orders(drawn, figures, np.array(rungs).swapaxes(0, 1), np.array(schedule.rungs))
        if options.children:
            by_cost = sorted(drawn, key=lambda each: each.cost)
            picks = np.linspace(0, len(by_cost) - 1, min(options.children, len(by_cost))).round().astype(int)
            print_warm_starts(contexts, study.space, [by_cost[i] for i in picks], seed=0)


if __name__ == "__main__":
    main()
