"""What a look at an untrained student is worth, and what a student gains from a neighbour's weights.

    python benchmarks/first_look.py [STUDY] [--plans 24] [--bands 4] [--children 12] [--epochs 2] [--seeds 2]

Draws plans of STUDY's space in bands of equal compression, looks at each student before any training, trains all of
them with one and the same recovery, and prints how well each figure that was known before orders them by final
accuracy: Kendall's tau-b over all pairs and over pairs of one band, with 95 % bootstrap intervals over plans, and what
taking its favourite of each band costs. "another seed" is the most that anything can tell. Then children of recovered
parents, one to three moves away, trained from the teacher's weights and from the parent's. With --runs, what was
trained is kept, and a second run goes on.
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

import numpy as np
import torch
import torch.nn.functional as F
from networks import machine_line
from numpy.typing import NDArray
from torch import Tensor

from autocompress.compression.distill import Lessons
from autocompress.compression.fake_quant import FakeQuantizer
from autocompress.compression.first_look import LOOK_IMAGES, first_look, outputs_with_bits
from autocompress.compression.inherit import distance, inherited
from autocompress.compression.precision import training_dtype
from autocompress.compression.student import make_student
from autocompress.search.evaluate.context import Workbench
from autocompress.search.evaluate.evaluation import Job, checkpoint_path, evaluate
from autocompress.search.store.study import opened
from autocompress.spaces.axes.base import Number
from autocompress.spaces.neighbours.moves import Mover
from autocompress.spaces.plan import Plan, Recovery
from autocompress.studies.data.images import seeded_generator
from autocompress.studies.study_file import load_study
from autocompress.studies.task import score

Numbers = NDArray[np.float64]

POOL = 30
"""Draws for each plan that is taken: bands are narrow."""
RESAMPLES = 2000


@dataclass(frozen=True)
class Drawn:
    """cost: predicted, the multiply-accumulates of all layers times the root of bits / 32, over the teacher's."""

    plan: Plan
    cost: float
    band: int


def draw(bench: Workbench, count: int, bands: int, seed: int) -> list[Drawn]:
    """Plans as a search proposes them, profiles with up to three moves, nearest to `bands` levels of cost."""
    random_, mover, space = random.Random(seed), Mover(bench.space), bench.space
    pool: dict[str, tuple[float, Plan]] = {}
    while len(pool) < POOL * count:
        values = {
            name: random_.uniform(p.low, p.high) if isinstance(p, Number) else random_.choice(p.options)
            for name, p in space.latent().items()
        }
        plan = space.decode(values)
        for _ in range(random_.randrange(4)):
            plan = mover.move(plan, random_)
        plan = replace(plan, recovery=Recovery())
        pool[plan.key()] = cost(bench, plan), plan
    ordered = sorted(pool.values(), key=lambda found: found[0])
    low, high = (np.log(ordered[int(part * (len(ordered) - 1))][0]) for part in (0.1, 0.9))
    found: list[Drawn] = []
    for band, level in enumerate(np.linspace(low, high, bands)):
        ordered.sort(key=lambda known, level=level: abs(float(np.log(known[0]) - level)))  # type: ignore[misc]
        taken = {drawn.plan for drawn in found}
        near = [known for known in ordered if known[1] not in taken][: count // bands]
        found += [Drawn(plan, relative, band) for relative, plan in near]
    return found


def cost(bench: Workbench, plan: Plan) -> float:
    """See `Drawn`."""
    layers = bench.space.ground.layers
    weights = make_student(bench.task.teacher, bench.space.ground.groups, plan).module.state_dict()
    macs = {layer.name: weights[f"{layer.name}.weight"].numel() * layer.area for layer in layers}
    paid = sum(count * (plan.bits.get(name, 32) / 32) ** 0.5 for name, count in macs.items())
    return float(paid) / sum(layer.macs for layer in layers)


def known_before(bench: Workbench, plan: Plan, taught: torch.nn.Module) -> dict[str, float]:
    """Figures of a student of `taught` that need no training, larger is better, and the seconds of the look."""
    ground, task, device = bench.space.ground, bench.task, bench.recoverer.device
    seen: list[Tensor] = []

    def metric(outputs: Tensor, labels: Tensor) -> float:
        seen.append(outputs)
        return score(task.metric, outputs, labels)

    rows = torch.randperm(len(task.validation), generator=seeded_generator("look"))[:LOOK_IMAGES]
    stale = make_student(taught, ground.groups, plan).module.to(device)
    fake = FakeQuantizer(stale, plan.bits)
    outputs = outputs_with_bits(stale, fake, task.calibration, task.validation, rows, device)
    start = time.perf_counter()
    student = make_student(taught, ground.groups, plan)
    fake = FakeQuantizer(student.module, plan.bits)
    accuracy = first_look(student, fake, task.calibration, task.validation, metric, device)
    seconds, asked = time.perf_counter() - start, bench.recoverer.lessons.teacher
    said = outputs_with_bits(asked, FakeQuantizer(asked, {}), task.calibration, task.validation, rows, device)
    counts = [(group, plan.channels.get(group.name, group.channels)) for group in ground.groups]
    kept = [float(group.importance[group.keep(count)].sum() / group.importance.sum()) for group, count in counts]
    weights = sum(parameter.numel() for parameter in student.module.parameters())
    return {
        "first look": accuracy,
        "look, stale norms": score(task.metric, outputs, task.validation.labels[rows]),
        "look, -KL from the teacher": -float(F.kl_div(seen[0].log_softmax(1), said.softmax(1), reduction="batchmean")),
        "cost": cost(bench, plan),
        "MACs kept": cost(bench, replace(plan, bits={})),
        "weights kept": float(weights),
        "magnitude kept": statistics.mean(kept),
        "seconds": seconds,
    }


def for_seed(bench: Workbench, epochs: float | None, seed: int, folder: Path) -> Workbench:
    """The workbench with trainings of another length and seed, kept apart from others."""
    old = bench.recoverer
    schedule = replace(old.schedule, seed=seed, epochs=epochs or old.schedule.epochs)
    # what the teacher said belongs to the batches of one seed
    lessons = Lessons(old.lessons.teacher, old.lessons.last_layer, old.device)
    recoverer = replace(old, schedule=schedule, lessons=lessons)
    return replace(bench, recoverer=recoverer, folder=folder / f"{schedule.epochs:g}-epochs-seed-{seed}")


def trained(bench: Workbench, plan: Plan) -> list[float]:
    """The accuracy after each rung."""
    found = []
    for rung in range(len(bench.recoverer.schedule.rungs)):
        result = evaluate(bench, Job(0, plan, "rung", rung))
        if result.accuracy is None:
            raise SystemExit(f"a training failed: {result.failure or 'stopped'}")
        found.append(result.accuracy)
    return found


def tau(predicted: Numbers, final: Numbers, same: NDArray[np.bool_], counts: Numbers) -> float:
    """Kendall's tau-b over those pairs of plans that are `same` [N, N], mean over seeds. predicted, final: [seeds, N].
    counts: [N], how often each plan is in a resample; a plan makes no pair with itself.
    """
    weight = np.triu(np.outer(counts, counts) * same, 1)
    found = []
    for x, y in zip(predicted, final, strict=True):
        dx, dy = np.sign(x[:, None] - x), np.sign(y[:, None] - y)
        untied = float((weight * dx * dx).sum() * (weight * dy * dy).sum())
        found.append(float((weight * dx * dy).sum()) / untied**0.5 if untied else 0.0)
    return statistics.mean(found)


def tau_with_interval(predicted: Numbers, final: Numbers, same: NDArray[np.bool_]) -> str:
    count = final.shape[1]
    resamples = np.random.default_rng(0).multinomial(count, [1 / count] * count, RESAMPLES // 4).astype(float)
    low, high = np.quantile([tau(predicted, final, same, counts) for counts in resamples], (0.025, 0.975))
    return f"{tau(predicted, final, same, np.ones(count)):5.2f} ({low:5.2f} to {high:5.2f})"


def lost_by(predicted: Numbers, final: Numbers, bands: NDArray[np.int64]) -> float:
    """Final accuracy of the best of a band less that of what `predicted` puts first there (of all it puts first, the
    mean), mean over bands and seeds; in points of 100.
    """
    owns = [bands == band for band in np.unique(bands)]
    both = [(x[own], y[own]) for x, y in zip(predicted, final, strict=True) for own in owns]
    return 100 * statistics.mean(float(y.max() - y[x == x.max()].mean()) for x, y in both)


def print_orders(bench: Workbench, drawn: Sequence[Drawn], figures: Sequence[dict[str, float]], rungs: Numbers) -> None:
    """rungs: accuracies [seeds, N, rungs]."""
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
    for number, part in enumerate(bench.recoverer.schedule.rungs[:-1]):
        predictors[f"after {part:.0%} of training"] = rungs[:, :, number]
    if len(final) > 1:
        predictors["another seed, all of it"] = np.roll(final, 1, axis=0)
    print(f"\n{'known before':28}  {'tau, all pairs':22}  {'tau, within bands':22}  favourite of a band is worse by")
    print(f"{'none: any of a band':76}  {lost_by(np.zeros_like(final), final, bands):.2f} points")
    for name, predicted in predictors.items():
        taus = [tau_with_interval(predicted, final, pairs) for pairs in (np.ones_like(same), same)]
        print(f"{name:28}  {taus[0]:22}  {taus[1]:22}  {lost_by(predicted, final, bands):.2f} points")


def interval(values: Numbers) -> str:
    """The mean with its 95 % bootstrap interval."""
    picks = np.random.default_rng(0).integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.quantile(values[picks].mean(1), (0.025, 0.975))
    return f"{values.mean():+.4f} ({low:+.4f} to {high:+.4f})"


def print_inheritance(benches: Sequence[Workbench], parents: Sequence[Plan], seed: int) -> None:
    """Children of these parents, one each: the same trainings from two starts."""
    random_, mover, groups = random.Random(seed), Mover(benches[0].space), benches[0].space.ground.groups
    rows, apart = [], []
    for number, parent in enumerate(parents):
        child = parent
        while child.training_key() == parent.training_key():
            child = parent
            for _ in range(1 + number % 3):
                child = replace(mover.move(child, random_), recovery=parent.recovery)
        apart.append(distance(parent, child, groups))
        for bench in benches:
            teacher = bench.task.teacher
            trained(bench, parent)
            path = checkpoint_path(bench.folder, parent, len(bench.recoverer.schedule.rungs) - 1)
            state = torch.load(path, weights_only=True, map_location="cpu")["module"]
            taught = inherited(teacher, groups, parent, state)
            own = bench.folder / f"from-{parent.training_key()}"
            heir = replace(bench, task=replace(bench.task, teacher=taught), folder=own)
            looks = [known_before(bench, child, start)["first look"] for start in (teacher, taught)]
            rows.append([[looks[0], *trained(bench, child)], [looks[1], *trained(heir, child)]])
            say(f"child {number + 1} of {len(parents)}")
    found = np.array(rows).reshape(len(parents), len(benches), 2, -1)  # [children, seeds, start, look and rungs]
    gain = found[:, :, 1] - found[:, :, 0]
    print(f"\n{len(parents)} children, 1 to 3 moves from their parents, distance {min(apart):.3f} to {max(apart):.3f}")
    print(f"{'':24}  from the teacher  from the parent  paired difference")
    parts = [f"after {part:.0%} of training" for part in benches[0].recoverer.schedule.rungs]
    for i, name in enumerate(["untrained (first look)", *parts]):
        teacher_, parent_ = found[:, :, :, i].mean((0, 1))
        print(f"{name:24}  {teacher_:16.4f}  {parent_:15.4f}  {interval(gain[:, :, i].mean(1))}")
    early = found[:, :, 1, 1:].mean(1) - found[:, :, 0, -1:].mean(1)
    print("from the parent, less all of a training from the teacher:")
    for i, name in enumerate(parts):
        print(f"{name:24}  {'':16}  {'':15}  {interval(early[:, i])}")
    told, came = gain[:, :, 0].flatten(), gain[:, :, -1].flatten()
    decided = (told != 0) & (came != 0)
    right = int((np.sign(told) == np.sign(came))[decided].sum())
    order = tau_with_interval(told[None], came[None], np.full((len(told),) * 2, True))
    print(
        f"the better first look had the better end in {right} of {int(decided.sum())} trainings "
        f"({int((came > 0).sum())} of {len(came)} were better from the parent); tau of the two gains {order}"
    )


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", nargs="?", default="digits")
    parser.add_argument("--plans", type=int, default=24)
    parser.add_argument("--bands", type=int, default=4)
    parser.add_argument("--children", type=int, default=12, help="0 leaves inheritance out.")
    parser.add_argument("--epochs", type=float, help="Of each training; by default the study's.")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--runs", type=Path, help="Where trainings are kept; by default nowhere.")
    options = parser.parse_args()
    settings = load_study(options.study).changed("target", probe_seconds=0.0)
    with (
        tempfile.TemporaryDirectory() as passing,
        opened(settings, None, options.runs or Path(passing), say=say) as study,
    ):
        bench, folder = study.bench, study.folder / "first_look"
        drawn = draw(bench, options.plans, options.bands, seed=0)
        benches = [for_seed(bench, options.epochs, seed, folder) for seed in range(options.seeds)]
        schedule, device = benches[0].recoverer.schedule, bench.recoverer.device
        steps = bench.task.train.epoch_plan(0, schedule.batch_size, 0).steps
        print(
            f"{options.study}, {len(drawn)} plans in {options.bands} bands, {options.seeds} seeds, "
            f"{schedule.epochs:g} epochs of {steps} steps; {len(bench.task.validation)} validation images; "
            f"{machine_line()}, {torch.get_num_threads()} threads, {training_dtype(device)} on {device}"
        )
        figures = [known_before(bench, each.plan, bench.task.teacher) for each in drawn]
        start = time.perf_counter()
        rungs = []
        for number, each in enumerate(drawn):
            rungs.append([trained(one, each.plan) for one in benches])
            say(f"plan {number + 1} of {len(drawn)}: {figures[number]['first look']:.3f}, then {rungs[-1]}")
        taken = (time.perf_counter() - start) / len(drawn) / len(benches)
        print(f"a first look takes {statistics.median(f['seconds'] for f in figures):.2f} s, a training {taken:.1f} s")
        print_orders(bench, drawn, figures, np.array(rungs).swapaxes(0, 1))
        if options.children:
            by_cost = sorted(drawn, key=lambda each: each.cost)
            picks = np.linspace(0, len(by_cost) - 1, min(options.children, len(by_cost))).round().astype(int)
            print_inheritance(benches, [by_cost[i].plan for i in picks], seed=0)


if __name__ == "__main__":
    main()
