"""The search beside what a user would run instead: the same study, trial function, machine and time for each.

    python -m benchmarks.search_comparison STUDY --minutes 60 --seeds 0 1 2 --folder F [--methods ours grid tpe] [--set recovery.epochs=0.5]
    python -m benchmarks.search_comparison --report F

The first form runs every method with every seed, one after the other, and writes F/METHOD-SEED.json for each; what has
ended is not run again (delete its file to do so). Both forms print the report and draw F/hypervolume.svg.

ours: the search. grid: up to 27 uniform designs, coarse to fine. pipeline: prune, distill, quantize, by hand. random,
nsga2, tpe: Optuna with its defaults over one choice per variable. The rivals train every student in full; with a budget they
measure a shape first, as the search does, and do not train what is over it.
"""  # noqa: E501

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from autocompress.errors import AutoCompressError, UsageError
from autocompress.search.study import opened
from autocompress.studies.schema import StudySections
from autocompress.studies.study_file import StudyFile, load_study
from autocompress.studies.task import Task

from .clock import Clock
from .ours import run_ours
from .picture import draw
from .points import Run, Terms, read_runs, run_path
from .preparation import lay_out, prepare, run_settings
from .race import Race
from .report import report
from .rivals import RIVALS

METHODS = ("ours", *RIVALS)


def run_rival(method: str, settings: StudyFile, task: Task, runs: Path, terms: Terms, seed: int) -> Run:
    """Run a rival, and return what it found.

    Args:
        method: Name of the rival.
        settings: Of the study.
        task: Of the study.
        runs: Where the study lies prepared.
        terms: Of the comparison.
        seed: Of the rival's random choices.
    """
    clock = Clock(60 * terms.minutes)
    with opened(settings, task, runs, stop=clock) as study:
        race = Race(study.context, study.space, terms, clock, lambda line: say(f"  {line}"), seed)
        clock.start()
        race.run(RIVALS[method](study.space, seed))
        ended_s = min(clock.seconds, clock.limit_s)
    return Run(
        method,
        seed,
        terms,
        tuple(race.points),
        dict(race.counts),
        dict(race.spent_s),
        round(ended_s, 2),
        race.exhausted,
    )


def compare(settings: StudyFile, folder: Path, minutes: float, methods: Sequence[str], seeds: Sequence[int]) -> None:
    """Run what has not been run yet, all methods with one seed before the next."""
    task = settings.build_task()
    terms = prepare(settings, task, folder, minutes, say)
    waiting = [(m, s) for s in seeds for m in methods if not run_path(folder, m, s).exists()]
    for number, (method, seed) in enumerate(waiting, 1):
        say(f"{method}, seed {seed}: run {number} of {len(waiting)}")
        runs = folder / "runs" / f"{method}-{seed}"
        lay_out(folder, terms.study, runs)
        own = run_settings(settings, seed)
        if method == "ours":
            with own_cache(runs):
                run = run_ours(own, task, runs, terms, seed)
        else:
            run = run_rival(method, own, task, runs, terms, seed)
        run.write(folder)
        shutil.rmtree(runs / terms.study / "checkpoints", ignore_errors=True)  # the bulk of what a run leaves


@contextmanager
def own_cache(runs: Path) -> Iterator[None]:
    """Give a run a cache of its own, so that it pays for its own sensitivities."""
    before = os.environ.get("AUTOCOMPRESS_CACHE")
    os.environ["AUTOCOMPRESS_CACHE"] = str((runs / "cache").resolve())
    try:
        yield
    finally:
        del os.environ["AUTOCOMPRESS_CACHE"]
        if before is not None:
            os.environ["AUTOCOMPRESS_CACHE"] = before


def changed(settings: StudyFile, words: Sequence[str]) -> StudyFile:
    """Return the study with values such as "recovery.epochs=0.5" on top, written as in a study file.

    Raises:
        UsageError: A value that cannot be set.
    """
    for word in words:
        name, _, text = word.partition("=")
        section, _, key = name.partition(".")
        if not key or not text or section not in StudySections.model_fields or section == "name":
            raise UsageError(f"--set {word}; allowed: SECTION.KEY=VALUE, such as recovery.epochs=0.5")
        try:
            value: Any = tomllib.loads(f"x = {text}")["x"]
        except tomllib.TOMLDecodeError:
            value = text
        settings = settings.changed(section, **{key: value})
    return settings


def tell(folder: Path) -> None:
    """Print the report of a folder and draw its picture.

    Raises:
        UsageError: No run has ended there.
    """
    runs = read_runs(folder) if folder.is_dir() else []
    if not runs:
        raise UsageError(f"no run has ended in {folder}; give the folder of a comparison")
    print(report(runs))
    draw(runs, folder / "hypervolume.svg")
    print(f"\npicture: {folder / 'hypervolume.svg'}")


def say(line: str) -> None:
    """Print a line beside the report."""
    print(line, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks for, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.search_comparison",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("study", nargs="?", help="A study file, or the name of a bundled study.")
    parser.add_argument("--minutes", type=float, default=10.0, help="For each run.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--folder", type=Path, help="Where runs are kept.")
    parser.add_argument("--set", nargs="+", default=[], metavar="SECTION.KEY=VALUE", help="On top of the study.")
    parser.add_argument("--report", type=Path, metavar="FOLDER", help="Print the report of a comparison; run nothing.")
    options = parser.parse_args(arguments)
    try:
        if options.report is not None:
            tell(options.report)
        elif options.study is None or options.folder is None:
            raise UsageError("give a STUDY and --folder, or --report FOLDER")
        elif options.minutes <= 0:
            raise UsageError(f"--minutes {options.minutes:g}; allowed: a number above 0")
        else:
            settings = changed(load_study(options.study), options.set)
            compare(settings, options.folder, options.minutes, options.methods, options.seeds)
            tell(options.folder)
    except AutoCompressError as error:
        say(f"error: {error}")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
