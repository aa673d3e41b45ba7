"""How well does the model of accuracy order students that it has not seen, as a real study goes on?

    python benchmarks/surrogate_rank.py RUNS/STUDY ... [--every 6]

Reads the finished trials of studies in the order in which they ended. After each few trained students the model is
fitted to those so far, and asked about the ones that follow. It prints the kind of model, Spearman's rank correlation
that its cross-validation promised, and the one with the students that followed, within bands of like latency.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from autocompress.errors import UsageError
from autocompress.search.objectives import latency_of, objective_costs
from autocompress.search.prepare.surrogates import prepare_surrogates
from autocompress.search.propose.learned.accuracy_model import AccuracyLearner, rank_correlation
from autocompress.search.propose.learned.coding import Coding
from autocompress.search.propose.learned.cost_scale import CostScale
from autocompress.search.propose.learned.features import Features
from autocompress.search.propose.role_classes import by_weight, role_classes
from autocompress.search.store.database import read_trials
from autocompress.search.store.settings import read_settings
from autocompress.search.study import opened


def compare(folder: Path, every: int) -> None:
    """Print a table for one study."""
    settings = read_settings(folder)
    trials = sorted(read_trials(folder, settings.name), key=lambda t: t.ended_s or 0.0)
    trained = [t for t in trials if t.finished and t.spec.recovery is not None and not t.technique]
    with opened(settings, None, folder.parent, say=print) as study:
        if study.folder.resolve() != folder.resolve():
            raise UsageError(f"{folder} is not the latest study of its name, {study.folder} is: move that one away")
        surrogates = prepare_surrogates(study.context, study.space, settings, print, None)
        coding = Coding(study.space)
        classes = by_weight(study.space, role_classes(study.space), surrogates.latency_for())
        features = Features(coding, classes, surrogates.sensitivity)
        x = features.of(np.array([coding.row(t.plan) for t in trained]))
        cost = np.array([objective_costs(["accuracy"], t.measured)[0] for t in trained])
        ms = np.array([latency_of("latency", t.gate).p50_ms for t in trained])
        harm = np.array([surrogates.harm(study.space, t.plan) for t in trained])
    print(f"{folder.name}: {len(trained)} trained students")
    print(
        f"{'after':>6}  {'model':18}  {'promised':>8}  {'next':>5}  {'in bands':>8}  {'overall':>8}  {'harm alone':>10}"
    )
    learner = AccuracyLearner(0)
    for count in range(every, len(trained) - 3, every):
        scale = CostScale.of(cost[:count])
        model = learner.fit(x[:count], scale.bent(cost[:count]), ms[:count])
        later = slice(count, None)
        said = model.predict(x[later])[0]
        found = [
            rank_correlation(said, cost[later], ms[later]),
            float(spearmanr(said, cost[later]).statistic),
            rank_correlation(harm[later], cost[later], ms[later]),
        ]
        left = len(trained) - count
        print(
            f"{count:6d}  {model.kind:18}  {model.rank_correlation:8.2f}  {left:5d}  "
            + "  ".join(f"{value:{width}.2f}" for value, width in zip(found, (8, 8, 10), strict=True))
        )


def main() -> None:
    """Print a table for each study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", type=Path, nargs="+")
    parser.add_argument("--every", type=int, default=6)
    options = parser.parse_args()
    for folder in options.studies:
        compare(folder, options.every)


if __name__ == "__main__":
    main()
