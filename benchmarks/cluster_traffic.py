"""What a sweep costs in network and object store: measured on a small search, then reckoned for many nodes.

    python benchmarks/cluster_traffic.py digits --minutes 3 [--nodes 100] [--hours 8] [--shared]

A real search runs on a Ray cluster that is started here. Counted are what a worker is opened with (the task with its data,
the teacher, what was calibrated), which the object store holds once a node, and what travels with each job and back.
With --shared, the workers have the folder of runs in common with the driver, and read and write most of it there.
"""  # noqa: E501

from __future__ import annotations

import argparse
import pickle
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

from networks import machine_line

from autocompress.search.evaluate.job import Job
from autocompress.search.evaluate.parcel import Parcel
from autocompress.search.executors import on_ray, ray_opening
from autocompress.search.executors.ray_actor import ActorHandle
from autocompress.search.executors.ray_files import StudyFiles
from autocompress.search.run import run_search
from autocompress.studies.study_file import load_study

MB = 1e6


def main() -> None:
    """Search, count, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", nargs="?", default="digits")
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--hours", type=float, default=8.0)
    parser.add_argument("--shared", action="store_true")
    options = parser.parse_args()
    print(machine_line(), flush=True)
    sent: Counter[str] = Counter()
    jobs: Counter[str] = Counter()
    opening: list[int] = []
    back: list[int] = []

    def counted_parcel(files: StudyFiles, worker: ActorHandle, job: Job) -> Parcel:
        found = parcel(files, worker, job)
        sent[job.step] += found.size_bytes
        jobs[job.step] += 1
        return found

    def counted_return(files: StudyFiles, worker: ActorHandle, made: Parcel) -> None:
        back.append(made.size_bytes)
        take_in(files, worker, made)

    def counted_opening(*words: Any) -> Any:
        found = on_opening(*words)
        opening.append(len(pickle.dumps(found.parcel)) + len(found.task or b""))
        return found

    on_opening: Callable[..., Any] = ray_opening.opening_of
    parcel, take_in = StudyFiles.parcel, StudyFiles.take_in
    settings = load_study(options.study)
    settings = settings.changed("search", executor="ray", workers=1, minutes=options.minutes, shared=options.shared)
    with (
        TemporaryDirectory() as runs,
        mock.patch.object(StudyFiles, "parcel", counted_parcel),
        mock.patch.object(StudyFiles, "take_in", counted_return),
        mock.patch.object(on_ray, "opening_of", counted_opening),
    ):
        outcome = run_search(settings, runs=Path(runs))
    trials = max(1, len(outcome.front.trials))
    print(f"\n{trials} trials in {outcome.search_s:.0f} s; opening a worker: {opening[0] / MB:.2f} MB")
    for step, count in jobs.items():
        print(f"  {step}: {count} jobs, {sent[step] / count / MB:.3f} MB with each")
    each = (sum(sent.values()) + sum(back)) / trials
    print(
        f"  back: {sum(back) / max(1, len(back)) / MB:.3f} MB with each job; both ways {each / MB:.2f} MB for a trial"
    )
    per_hour = 3600 * trials / outcome.search_s
    count = options.nodes * options.hours * per_hour
    once, held = options.nodes * opening[0], opening[0] / MB
    print(
        f"\n{options.nodes} nodes of a worker each, {options.hours:g} hours, {per_hour:.0f} trials an hour and worker:"
    )
    print(f"  once: {once / MB:,.0f} MB from the driver; {held:.1f} MB of object store a node")
    print(f"  then: {count:,.0f} trials, {count * each / 1e9:,.2f} GB through the driver")
    print(f"  which is {8 * count * each / (3600 * options.hours) / 1e6:.2f} Mbit/s")


if __name__ == "__main__":
    main()
