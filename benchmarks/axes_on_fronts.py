"""Which kinds of decisions the models on a front have, and what is left of the front without those that have one.

    python -m benchmarks.axes_on_fronts STUDY_FOLDER ...

The folders are studies of one network, such as those that `benchmarks.techniques` leaves in its folder. For each kind
of decision it prints how many models have it, of all that finished and of those on the front, how many of the front's
have it and are equalled by no model without it, and the hypervolume of the front of the models without it, beside that
of all. Models that were made by hand count. Means over the folders with 95 % intervals (t).

A kind without a model on the front of studies that tried it did not pay there. What one does have says that it pays for
these trials; whether a search without it finds as much in the same time, `benchmarks.axis_worth` says.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

from autocompress.api import open_study
from autocompress.files import read_object
from autocompress.search.pareto import non_dominated
from autocompress.search.report.front import Front
from autocompress.spaces.spec import StudentSpec
from benchmarks.front_volume import beyond, volume, worth
from benchmarks.techniques import mean

HEADS = ("decisions", "finished", "on the front", "only with it", "hypervolume without it", "with it")


def main() -> None:
    """Print the table of the folders that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="STUDY_FOLDER")
    folders = parser.parse_args().folders
    print(f"| {' | '.join(HEADS)} |")
    print(f"|{' --- |' * len(HEADS)}")
    rows = [rows_of(open_study(folder), embeddings(folder)) for folder in folders]
    for name in rows[0]:
        alike = [each[name] for each in rows]
        forms = (".1f", ".1f", ".1f", ".4f", ".4f")
        cells = [mean([row[k] for row in alike], form) for k, form in enumerate(forms)]
        print(f"| {' | '.join((name, *cells))} |")


def rows_of(front: Front, embedded: frozenset[str]) -> dict[str, tuple[float, ...]]:
    """Return the row of each kind of decision that some model of a study has, as numbers."""
    objectives, found = front.objectives, dict[str, tuple[float, ...]]()
    for name, has in kinds(embedded).items():
        having = [entry for entry in front.entries if has(entry.trial.spec)]
        others = [entry for entry in front.entries if not has(entry.trial.spec)]
        without = [others[i] for i in non_dominated([[e.cost(o) for o in objectives] for e in others])]
        best = [entry for entry in front.best if has(entry.trial.spec)]
        found[name] = (
            len(having),
            len(best),
            len(list(beyond(worth(front, without), front, best))),
            volume(front, without),
            volume(front, front.best),
        )
    return found


def kinds(embedded: frozenset[str]) -> Mapping[str, Callable[[StudentSpec], bool]]:
    """Return what tells whether a student has a decision of each kind.

    Args:
        embedded: Names of embeddings.
    """
    return {
        "channels": lambda spec: bool(spec.channels),
        "blocks dropped": lambda spec: bool(spec.dropped),
        "smaller inputs": lambda spec: bool(spec.size),
        "factors": lambda spec: bool(spec.factors),
        "patterns of zeros": lambda spec: bool(spec.patterns),
        "bits of layers": lambda spec: bool(spec.bits.keys() - embedded),
        "bits of embeddings": lambda spec: bool(spec.bits.keys() & embedded),
        "dynamic or no ranges": lambda spec: bool(spec.activations),
        "few weights taught": lambda spec: spec.recovery is not None and spec.recovery.tune != "full",
    }


def embeddings(folder: Path) -> frozenset[str]:
    """Return the names of the embeddings of a study's network."""
    layers = (read_object(folder / "space.json") or {}).get("layers", [])
    return frozenset(layer["name"] for layer in layers if layer["kind"] == "embedding")


if __name__ == "__main__":
    main()
