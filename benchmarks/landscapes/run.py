"""Does the search earn its compute? The real search code and its rivals on landscapes with a known optimum.

    python -m benchmarks.landscapes --dimensions 20 60 120 --seeds 10 --hours 8 --jobs 2

Time is simulated: every job has a price (`executor.Prices`), such as 300 s for a training and 1 s for a gate. The
report has, for each problem and method, the hypervolume at the quarters of the time and after 50, 100 and 300 trainings
as a share of the known front's (means over the seeds), and what the search is above or below the best rival. Another
seed is another network, or other places of the optima.

    python -m benchmarks.landscapes --problems network-dominant --trainings 48 300 --whole-front --jobs 2
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np

from autocompress.studies.schema import Part, SearchSection

from .executor import Prices, SimulatedExecutor
from .flavours import FLAVOURS
from .landscape import Floats, Landscape
from .ours import ABLE, make_search, parts_of_training
from .problems import NAMES, TestProblem
from .report import print_report
from .rivals import RIVALS
from .score import Curve, shares
from .simulated import SimulatedNetwork

NETWORKS = tuple(f"network-{flavour}" for flavour in FLAVOURS)
PROBLEMS = (*NETWORKS, *NAMES, *(f"{name}-shifted" for name in NAMES))
METHODS = ("ours", *RIVALS)
TRAINING_S = Prices().train_s + Prices().gate_s + Prices().build_s
"""What a student costs from its gate to its file."""


@dataclass(frozen=True)
class Task:
    """One run.

    Attributes:
        problem: One of PROBLEMS.
        dimensions: Number of its variables.
        method: One of METHODS.
        seed: Of the landscape and of the search.
        hours: Of simulated time.
        has_budget: Whether methods are told a budget; else the whole front counts.
        without: Parts of the search that are left out.
        setting: A setting of the search, with its value, in place of the default.
        cache: Folder for reference fronts; None computes them anew.
    """

    problem: str
    dimensions: int
    method: str
    seed: int
    hours: float
    has_budget: bool = True
    without: tuple[Part, ...] = ()
    setting: tuple[str, str] | None = None
    cache: Path | None = None


def make_landscape(problem: str, dimensions: int, seed: int, has_budget: bool = True) -> Landscape:
    """Return a landscape of PROBLEMS, with a budget or with none."""
    if problem in NETWORKS:
        return SimulatedNetwork(dimensions, seed, problem.removeprefix("network-"), has_budget=has_budget)
    name, _, flavour = problem.partition("-")
    return TestProblem(name, dimensions, seed, flavour == "shifted", has_budget)


def run(task: Task) -> Curve:
    """Search, then score what was found."""
    landscape = make_landscape(task.problem, task.dimensions, task.seed, task.has_budget)
    reference = _reference(landscape, task.cache)
    horizon_s = task.hours * 3600
    start_s = time.perf_counter()
    if task.method == "ours":
        executor = SimulatedExecutor(landscape, parts=parts_of_training(task.without))
        with tempfile.TemporaryDirectory() as folder:
            settings = SearchSection.model_validate(dict([task.setting] if task.setting else []))
            driver = make_search(landscape, executor, Path(folder), task.seed, task.without, settings)
            driver.run(lambda: executor.clock_s >= horizon_s, lambda _: None)
    else:
        executor = SimulatedExecutor(landscape)
        RIVALS[task.method](landscape, executor, task.seed).run(horizon_s)
    wall_s = time.perf_counter() - start_s
    method = task.method + (f" without {'+'.join(task.without)}" if task.without else "")
    if task.setting:
        method += f" with {'='.join(task.setting)}"
    found = [f for f in executor.found if f.clock_s <= horizon_s]
    parts = shares(found, landscape, reference, horizon_s)
    return Curve(landscape.name, method, task.seed, parts, len(found), wall_s, horizon_s / TRAINING_S)


def _reference(landscape: Landscape, cache: Path | None) -> Floats:
    if cache is None:
        return landscape.reference()
    path = cache / f"{landscape.name}-{landscape.seed}.json"
    if path.exists():
        return np.array(json.loads(path.read_text()))
    found = landscape.reference()
    beside = path.with_suffix(f".{time.time_ns()}.part")
    beside.write_text(json.dumps(found.tolist()))
    beside.replace(path)
    return found


def tasks(options: argparse.Namespace) -> Iterator[Task]:
    """Yield all runs that were asked for: the whole search, and one without each of the parts."""
    hours = [count * TRAINING_S / 3600 for count in options.trainings] or [options.hours]
    settings = [(key, value) for key, _, value in (word.partition("=") for word in options.settings)]
    for dimensions, problem, time_h, seed in itertools.product(
        options.dimensions, options.problems, hours, range(options.seeds)
    ):
        common = Task(problem, dimensions, "ours", seed, time_h, not options.whole_front, cache=options.cache)
        yield from (replace(common, method=method) for method in options.methods)
        yield from (replace(common, without=parts) for parts in options.without)
        yield from (replace(common, setting=setting) for setting in settings)


def _parts(word: str) -> tuple[Part, ...]:
    """Return the parts that a word such as `shares+profile` names."""
    for part in word.split("+"):
        if part not in ABLE:
            raise argparse.ArgumentTypeError(f"no part named '{part}'; allowed: {', '.join(ABLE)}")
    return cast(tuple[Part, ...], tuple(word.split("+")))


def all_curves(found: Sequence[Task], jobs: int) -> Iterator[Curve]:
    """Yield the curves as they come."""
    if jobs == 1:
        yield from map(run, found)
        return
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(run, found)


def main() -> None:
    """Run what the command line asks for, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dimensions", type=int, nargs="+", default=[20, 60, 120])
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, default=list(PROBLEMS), metavar="PROBLEM")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument(
        "--without",
        nargs="+",
        type=_parts,
        default=[],
        metavar="PART[+PART]",
        help=f"Parts to leave out, one run for each word: {', '.join(ABLE)}.",
    )
    parser.add_argument(
        "--with", nargs="+", dest="settings", default=[], metavar="SETTING=VALUE", help="sampler=gp, one at a time."
    )
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--hours", type=float, default=8.0, help="Simulated.")
    parser.add_argument(
        "--trainings",
        type=float,
        nargs="+",
        default=[],
        help=f"In place of hours: {TRAINING_S:.0f} s each.",
    )
    parser.add_argument("--whole-front", action="store_true", help="No budget: the front up to the teacher counts.")
    parser.add_argument("--jobs", type=int, default=1, help="Processes.")
    parser.add_argument("--json", type=Path, help="Every curve, one to a line.")
    default = Path(tempfile.gettempdir()) / "autocompress-landscapes"
    parser.add_argument("--cache", type=Path, default=default, help="For reference fronts that take minutes.")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    curves = []
    for curve in all_curves(list(tasks(options)), options.jobs):
        curves.append(curve)
        words = f"{curve.problem:34} seed {curve.seed} {curve.method:22}"
        print(f"{words} {curve.end:.3f}, {curve.trials} trials, {curve.wall_s:.0f} s", flush=True)
        if options.json:
            with options.json.open("a") as file:
                file.write(json.dumps(asdict(curve)) + "\n")
    print_report(curves)
