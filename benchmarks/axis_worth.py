"""What kinds of decisions are worth: searches of the same length with each of them and without any.

    python -m benchmarks.axis_worth STUDY --axis depth factors [--minutes 30] [--seeds 0 1 2] [--runs F] [--set K=V]

STUDY is a study file, the name of a bundled one, or a task. For each seed it is searched over its own axes, and over
these and each of the named ones. It prints the hypervolume of each front, and the models that only the wider space has:
no model of the other front of that seed is as accurate and as fast. Latencies are parts of the teacher's in the same
study. At the end it prints mean differences between hypervolumes with and without, paired by seed, with 95 % intervals
(t). A second run with the same folder goes on.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

from autocompress.search.report.front import Front
from autocompress.search.run import run_search
from benchmarks.front_volume import beyond, part, volume, worth
from benchmarks.networks import machine_line
from benchmarks.search_comparison.__main__ import changed
from benchmarks.techniques import mean, study_of


def main() -> None:
    """Run what the command line asks for, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study")
    parser.add_argument("--axis", nargs="+", required=True)
    parser.add_argument("--minutes", type=float, default=30.0, help="Of each search.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--set", nargs="+", default=[], metavar="SECTION.KEY=VALUE", help="Other keys of the study.")
    options = parser.parse_args()
    print(machine_line(), flush=True)
    settings = changed(study_of(options.study), options.set).changed("search", minutes=options.minutes)
    own = tuple(axis for axis in settings.space.axes if axis not in options.axis)
    differences = defaultdict[str, list[float | None]](list)
    for seed in options.seeds:
        plain: Front | None = None
        for axis in (None, *options.axis):
            name = "without" if axis is None else f"with {axis}"
            study = settings.changed("search", seed=seed).changed("space", axes=own if axis is None else (axis, *own))
            front = run_search(study, runs=options.runs / f"{name.replace(' ', '-')}-{seed}").front
            if front.teacher is None:
                raise SystemExit(f"seed {seed}, {name}: the teacher was not measured in time; give more --minutes")
            found = volume(front, front.best)
            print(f"seed {seed}, {name}: hypervolume {found:.4f}, {len(front.trials)} trials", flush=True)
            if plain is None or axis is None:
                plain = front
                continue
            differences[axis].append(found - volume(plain, plain.best))
            for entry in beyond(worth(plain, plain.best), front, front.best):
                where = f"{entry.accuracy:.4f} at {part(front, entry):.3f} of the teacher's latency"
                print(f"  {where}: {entry.trial.label}", flush=True)
    for axis, apart in differences.items():
        print(f"{axis}: {mean(apart, '+.4f')} of hypervolume")


if __name__ == "__main__":
    main()
