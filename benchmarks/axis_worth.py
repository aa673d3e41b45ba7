"""What one kind of decision is worth: searches of the same length with it and without it, in turns.

    python -m benchmarks.axis_worth cifar10_resnet20 --axis depth [--minutes 30] [--seeds 0 1 2] [--runs folder]

For each seed a study is searched over its own axes and over these and the named one. It prints the hypervolume of each
front, and the models that only the wider space has: no model of the other front of that seed is as accurate and as
fast. Latencies are parts of the teacher's in the same study. A second run with the same folder goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from autocompress.search.report.entry import Entry
from autocompress.search.report.front import Front
from autocompress.search.run import run_search
from autocompress.studies.study_file import StudyFile, load_study
from benchmarks.search_comparison.points import Point
from benchmarks.search_comparison.volume import ABOVE_TEACHER, BELOW_TEACHER, Box


def main() -> None:
    """Run what the command line asks for, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study")
    parser.add_argument("--axis", required=True)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    options = parser.parse_args()
    settings = load_study(options.study).changed("search", minutes=options.minutes)
    own = tuple(axis for axis in settings.space.axes if axis != options.axis)
    for seed in options.seeds:
        fronts = []
        for name, axes in (("without", own), (f"with {options.axis}", (options.axis, *own))):
            study = settings.changed("search", seed=seed).changed("space", axes=axes)
            front = searched(study, options.runs / f"{name.replace(' ', '-')}-{seed}")
            if front.teacher is None:
                raise SystemExit(f"seed {seed}, {name}: the teacher was not measured in time; give more --minutes")
            fronts.append(front)
            print(f"seed {seed}, {name}: hypervolume {volume(front):.4f}, {len(front.trials)} trials", flush=True)
        for entry in new(fronts[1], fronts[0]):
            dropped = ", ".join(entry.trial.spec.dropped) or "none"
            print(
                f"  {entry.accuracy:.4f} at {part(fronts[1], entry):.3f} of the teacher's latency; dropped: {dropped}"
            )


def searched(settings: StudyFile, runs: Path) -> Front:
    """Return the front of a search."""
    return run_search(settings, runs=runs).front


def volume(front: Front) -> float:
    """Return the hypervolume of a front, with latency as a part of the teacher's; see `search_comparison.volume`."""
    assert front.teacher is not None
    teacher = front.teacher.accuracy
    box = Box(1.0, max(0.0, teacher - BELOW_TEACHER), min(1.0, teacher + ABOVE_TEACHER))
    return box.volume([point(front, entry) for entry in front.best])


def point(front: Front, entry: Entry) -> Point:
    """Return accuracy and relative latency of a model."""
    latency = part(front, entry)
    return Point(0.0, entry.accuracy, latency, latency, latency, latency, entry.trial.spec.key())


def part(front: Front, entry: Entry) -> float:
    """Return the latency of a model as a part of the teacher's."""
    assert front.teacher is not None
    return entry.latency.p50_ms / front.teacher.latency.p50_ms


def new(front: Front, other: Front) -> Iterator[Entry]:
    """Yield the models of a front that no model of the other equals in accuracy and in latency."""
    known: Sequence[tuple[float, float]] = [(entry.accuracy, part(other, entry)) for entry in other.best]
    for entry in front.best:
        if not any(a >= entry.accuracy and ms <= part(front, entry) for a, ms in known):
            yield entry


if __name__ == "__main__":
    main()
