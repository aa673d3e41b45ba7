"""Does the search earn its compute? The real search code and its rivals on landscapes with a known optimum.

    python -m benchmarks.landscapes --dimensions 20 60 120 --seeds 10 --hours 8 --jobs 2

Time is simulated: every job has a price (`executor.Prices`), such as 300 s for a training and 1 s for a gate. The
report has, for each problem and method, the hypervolume at the end as a share of the known front's (median and the
middle half of the seeds), its mean over the whole time, and for the search the part of the time after which it passes
what the best rival ends with. Another seed is another network, or other places of the optima.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from autocompress.studies.schema import Part, SearchSection

from .executor import SimulatedExecutor
from .landscape import Floats, Landscape
from .ours import ABLE, make_search, parts_of_training
from .problems import NAMES, TestProblem
from .report import print_report
from .rivals import RIVALS
from .score import Curve, shares
from .simulated import SimulatedNetwork

NETWORKS = ("network-additive", "network-interacting")
PROBLEMS = (*NETWORKS, *NAMES, *(f"{name}-shifted" for name in NAMES))
METHODS = ("ours", *RIVALS)


@dataclass(frozen=True)
class Task:
    """One run.

    Attributes:
        problem: One of PROBLEMS.
        dimensions: Number of its variables.
        method: One of METHODS.
        seed: Of the landscape and of the search.
        hours: Of simulated time.
        without: Parts of the search that are left out.
        setting: A setting of the search, with its value, in place of the default.
        cache: Folder for reference fronts; None computes them anew.
    """

    problem: str
    dimensions: int
    method: str
    seed: int
    hours: float
    without: tuple[Part, ...] = ()
    setting: tuple[str, str] | None = None
    cache: Path | None = None


def make_landscape(problem: str, dimensions: int, seed: int) -> Landscape:
    """Return a landscape of PROBLEMS."""
    if problem in NETWORKS:
        return SimulatedNetwork(dimensions, seed, problem.endswith("interacting"))
    name, _, flavour = problem.partition("-")
    return TestProblem(name, dimensions, seed, flavour == "shifted")


def run(task: Task) -> Curve:
    """Search, then score what was found."""
    landscape = make_landscape(task.problem, task.dimensions, task.seed)
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
    method = task.method + "".join(f" without {part}" for part in task.without)
    if task.setting:
        method += f" with {'='.join(task.setting)}"
    found = [f for f in executor.found if f.clock_s <= horizon_s]
    return Curve(landscape.name, method, task.seed, shares(found, landscape, reference, horizon_s), len(found), wall_s)


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
    for dimensions in options.dimensions:
        for problem in options.problems:
            for seed in range(options.seeds):
                common = (problem, dimensions)
                for method in options.methods:
                    yield Task(*common, method, seed, options.hours, cache=options.cache)
                for part in options.without:
                    yield Task(*common, "ours", seed, options.hours, (part,), cache=options.cache)
                for word in options.settings:
                    key, _, value = word.partition("=")
                    yield Task(*common, "ours", seed, options.hours, setting=(key, value), cache=options.cache)


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
    parser.add_argument("--without", nargs="+", choices=ABLE, default=[], help="Parts to leave out, one at a time.")
    parser.add_argument(
        "--with", nargs="+", dest="settings", default=[], metavar="SETTING=VALUE", help="sampler=gp, one at a time."
    )
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--hours", type=float, default=8.0, help="Simulated.")
    parser.add_argument("--jobs", type=int, default=1, help="Processes.")
    parser.add_argument("--json", type=Path, help="Every curve, one to a line.")
    default = Path(tempfile.gettempdir()) / "autocompress-landscapes"
    parser.add_argument("--cache", type=Path, default=default, help="For reference fronts that take minutes.")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    curves = []
    for curve in all_curves(list(tasks(options)), options.jobs):
        curves.append(curve)
        words = f"{curve.problem:28} seed {curve.seed} {curve.method:22}"
        print(f"{words} {curve.end:.3f}, {curve.trials} trials, {curve.wall_s:.0f} s", flush=True)
        if options.json:
            with options.json.open("a") as file:
                file.write(json.dumps(asdict(curve)) + "\n")
    print_report(curves)
