"""How small does a BERT-like encoder get that keeps 97 % of its accuracy? Searches of depth, width and bits by size.

    python -m benchmarks.distilbert_like [--minutes 30] [--seeds 0 1 2] [--folder F] [--kinds float int8] [--set K=V]

DistilBERT keeps 60 % of BERT's weights and 97 % of its score (Sanh et al. 2019, arXiv:1910.01108). Here the encoder of
`studies/bert_ag_news.py`, six layers that sort news into four topics, is searched for the smallest file: once in float,
where blocks and channels decide (the width of the embedding is among them), and once with 8 bits for layers and
embeddings.

A model is chosen on the validation split: the smallest whose accuracy there is at least 97 % of the teacher's, by the
lower end of its interval if any reaches so far. What is printed is its accuracy on the test split, which chose nothing,
as a part of the teacher's there, and its file as a part of the teacher's. Needs transformers and pandas, and the file
that `studies/bert_ag_news.py` names. What a seed brought is kept in the folder, so that a second run goes on.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from autocompress.search.report.entry import Entry
from autocompress.search.report.front import Front
from autocompress.search.run import run_search
from autocompress.studies.study_file import StudyFile
from benchmarks.networks import machine_line
from benchmarks.search_comparison.__main__ import changed
from benchmarks.techniques import mean, study_of

TASK = Path(__file__).parent / "studies/bert_ag_news.py"
KEPT = 0.97
"""Part of the teacher's accuracy that a student must keep."""
SIZES = {"float": 0.40, "int8": 0.10}
"""Part of the teacher's file that a student may have."""


def main() -> None:
    """Run what the command line asks for, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0, help="Of each of the two searches of a seed.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--folder", type=Path, default=Path("distilbert-like"))
    parser.add_argument("--kinds", nargs="+", default=list(SIZES), choices=list(SIZES), help="Which of the searches.")
    parser.add_argument("--set", nargs="+", default=[], metavar="SECTION.KEY=VALUE", help="Other keys of the study.")
    options = parser.parse_args()
    print(machine_line(), flush=True)
    print("| | aim | part of the size | part of the accuracy on the test split | layers |")
    print("| --- | --- | --- | --- | --- |")
    for name in options.kinds:
        aim = SIZES[name]
        found = []
        for seed in options.seeds:
            kept = options.folder / f"{name}-{seed}.json"
            if not kept.exists():
                settings = changed(study(name), options.set).changed("search", seed=seed, minutes=options.minutes)
                front = run_search(settings, runs=options.folder / f"runs-{seed}").front
                kept.write_text(json.dumps(smallest(front)))
            found.append(json.loads(kept.read_text()))
        size = mean([each["size"] for each in found], ".3f")
        test = mean([each["test"] for each in found], ".4f")
        layers = ", ".join(each["model"] for each in found)
        print(f"| {name} | {aim:.0%} at {KEPT:.0%} | {size} | {test} | {layers} |", flush=True)


def study(name: str) -> StudyFile:
    """Return one of the two studies."""
    bits = name == "int8"
    axes = ("depth", "channels", *(("bits",) if bits else ()), "recovery")
    settings = study_of(str(TASK)).named(f"bert_ag_news-{name}").changed("space", axes=axes, embeddings=bits)
    return settings.changed("search", objectives=("accuracy", "size_bytes")).changed("recovery", epochs=3.0)


def smallest(front: Front) -> dict[str, Any]:
    """Return what is said of the smallest model that keeps enough on the validation split."""
    teacher = front.teacher
    assert teacher is not None
    enough = [entry for entry in front.entries if entry.quality >= KEPT * teacher.quality]
    # the teacher is always sure enough of itself, and no answer
    sure = [entry for entry in enough if entry is not teacher and front.least(entry) >= KEPT * teacher.quality]
    best = min(sure or enough, key=lambda entry: entry.size_bytes)
    return {
        "size": best.size_bytes / teacher.size_bytes,
        "test": part_of_teacher(best, teacher),
        "model": f"trial {best.number} without {len(best.trial.spec.dropped)} blocks",
    }


def part_of_teacher(entry: Entry, teacher: Entry) -> float | None:
    """Return a model's metric on the test split as a part of the teacher's; None where one of them has none."""
    if entry.test_quality is None or teacher.test_quality is None:
        return None
    return entry.test_quality / teacher.test_quality


if __name__ == "__main__":
    main()
