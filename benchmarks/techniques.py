"""What each technique is worth beside the joint search, on several networks: the techniques' tables of several seeds.

    python -m benchmarks.techniques [STUDY ...] [--minutes 60] [--seeds 0 1 2] [--folder F] [--set recovery.epochs=1]

A STUDY is a study file, the name of a bundled one, or a task (task.py, task.py:function). Each is searched once a
seed with `--baselines all`: every technique alone, and sequences of them in both orders, each of which goes on over a
grid of widths and rates until it had as many seconds as the search. So the search has a part of the minutes only.

A row is the model of a technique that one would ship: the fastest that is about as good as the teacher, unless the
study has a budget. Metrics are those of the test split, which chose nothing. The last column is the best model of the
search that is no slower than the row's, minus the row's, of the same seed. Means over seeds with 95 % intervals (t).

What a seed brought is kept in the folder as JSON, so that a second run goes on where the first one ended.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from scipy.stats import t as student_t

from autocompress.cli.options import find_study
from autocompress.search.report.front import Front
from autocompress.search.report.techniques import Row, techniques
from autocompress.search.run import run_search
from autocompress.studies.study_file import StudyFile
from benchmarks.networks import machine_line
from benchmarks.search_comparison.__main__ import changed

STUDIES = ("cifar10_resnet20", "benchmarks/studies/mobilenet_cifar10.toml", "benchmarks/studies/bert_ag_news.py")
HEADS = ("technique", "test", "speed-up", "per s", "of the size", "training s", "tried", "search - technique")


def main() -> None:
    """Run what the command line asks for, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="*", default=STUDIES)
    parser.add_argument("--minutes", type=float, default=60.0, help="Of each search, with all that is made by hand.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--folder", type=Path, default=Path("techniques"))
    parser.add_argument("--set", nargs="+", default=[], metavar="SECTION.KEY=VALUE", help="Other keys of the studies.")
    options = parser.parse_args()
    print(machine_line(), flush=True)
    for name in options.studies:
        settings = changed(study_of(name), options.set)
        found = []
        for seed in options.seeds:
            kept = options.folder / f"{settings.name}-{seed}.json"
            if not kept.exists():
                rows = searched(settings, seed, options.minutes, options.folder / "runs")
                kept.write_text(json.dumps(rows, indent=1))
            found.append(json.loads(kept.read_text()))
        print(f"\n{settings.name}, {len(found)} searches of {options.minutes:g} minutes with all techniques\n")
        print("\n".join(table(found)), flush=True)


def study_of(name: str) -> StudyFile:
    """Return a study by its name, its file or its task."""
    is_task = name.rpartition(":")[0].endswith(".py") or name.endswith(".py")
    return find_study(None, name) if is_task else find_study(name, None)


def searched(settings: StudyFile, seed: int, minutes: float, runs: Path) -> list[dict[str, Any]]:
    """Return the rows of one search with all techniques, as plain values."""
    settings = settings.changed("search", seed=seed, minutes=minutes, baselines=("all",)).named(
        f"{settings.name}-{seed}"
    )
    front = run_search(settings, runs=runs).front
    return [row_of(front, row) for row in techniques(front).rows if row.entry is not None]


def row_of(front: Front, row: Row) -> dict[str, Any]:
    """Return what is kept of a row; the metric is None where the model was not looked at on the test split."""
    assert row.entry is not None and row.speed_up is not None and front.teacher is not None
    apart = row.against
    return {
        "technique": row.name,
        "model": row.entry.trial.label,
        "test": None if row.test is None else row.test.value,
        "speed_up": row.speed_up.value,
        "per_s": row.entry.reported_latency.throughput_per_s,
        "size": row.entry.size_bytes / front.teacher.size_bytes,
        "training_s": row.training.seconds,
        "tried": row.tried,
        "search": None if apart is None or apart.split != "test" else apart.difference.value,
    }


def table(seeds: Sequence[Sequence[Mapping[str, Any]]]) -> Iterator[str]:
    """Yield the lines of a table in Markdown, a row for each technique that some seed has a model of."""
    yield f"| {' | '.join(HEADS)} |"
    yield f"|{' --- |' * len(HEADS)}"
    for name in dict.fromkeys(row["technique"] for rows in seeds for row in rows):
        alike = [row for rows in seeds for row in rows if row["technique"] == name]
        cells = (
            name,
            mean([row["test"] for row in alike], ".4f"),
            mean([row["speed_up"] for row in alike], ".2f"),
            mean([row["per_s"] for row in alike], ",.0f"),
            mean([row["size"] for row in alike], ".3f"),
            mean([row["training_s"] for row in alike], ".0f"),
            mean([row["tried"] for row in alike], ".1f"),
            mean([row["search"] for row in alike], "+.4f"),
        )
        yield f"| {' | '.join(cells)} |"


def mean(values: Sequence[float | None], form: str) -> str:
    """Return a mean with half of its 95 % interval, and how many values there are where some are missing."""
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    missing = f" ({len(known)} of {len(values)})" if len(known) < len(values) else ""
    if len(known) < 2:
        return f"{known[0]:{form}}{missing}"
    half = float(student_t.ppf(0.975, len(known) - 1)) * statistics.stdev(known) / len(known) ** 0.5
    return f"{statistics.fmean(known):{form}} ± {half:{form.replace('+', '')}}{missing}"


if __name__ == "__main__":
    main()
