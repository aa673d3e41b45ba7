"""Which decisions mattered: a random forest over plans, not over the numbers that a sampler drew."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..entry import Entry

FEWEST = 16
"""Finished trials below which nothing is said."""
MOST = 1200
"""Trials that the forest is grown on at most: more take long and tell little more."""
TREES = 60
DEALS = 3
"""Times that a variable's options are dealt out anew."""
LEAST_EXPLAINED = 0.1
"""Of the variance among trials that were held out: below it, nothing is said."""

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Importance:
    """What decisions matter for one figure.

    Attributes:
        figure: "metric" or "latency".
        explained: Part of the variance among held-out trials that the forest explains.
        variables: Name of a variable -> its part of what all explain together, largest first.
        axes: The same for all variables of an axis together.
    """

    figure: str
    explained: float
    variables: Mapping[str, float]
    axes: Mapping[str, float]


class PlanForest:
    """A random forest that predicts the metric and the logarithm of latency from plans.

    It is grown on three quarters of the trials. Importance is that of permutation on the rest (Breiman 2001,
    doi:10.1023/A:1010933404324, section 10): how much worse the prediction gets when a variable's options are dealt out
    anew among the trials.
    """

    def __init__(self, entries: Sequence[Entry], variables: Sequence[Mapping[str, Any]]) -> None:
        """Grow it.

        Args:
            entries: Finished trials.
            variables: Of the study, as in its `space.json`.
        """
        from sklearn.ensemble import RandomForestRegressor  # takes a second to import

        if len(entries) > MOST:
            entries = [entries[int(i)] for i in np.linspace(0, len(entries) - 1, MOST)]
        self._variables = variables
        rows = self.rows([entry.trial.plan.choices for entry in entries])
        self._live = [int(i) for i in np.flatnonzero(np.ptp(rows, axis=0) > 0)]
        self._rows = rows
        order = np.random.default_rng(0).permutation(len(entries))
        self._held, self._kept = order[: len(order) // 4], order[len(order) // 4 :]
        self._figures = {
            "metric": np.array([entry.accuracy for entry in entries]),
            "latency": np.array([math.log(entry.latency.p50_ms) for entry in entries]),
        }
        self._forests = {}
        for figure, values in self._figures.items():
            forest = RandomForestRegressor(TREES, min_samples_leaf=2, random_state=0, max_features=0.5)
            self._forests[figure] = forest.fit(rows[self._kept], values[self._kept])

    def rows(self, plans: Sequence[Mapping[str, Any]]) -> Matrix:
        """Return plans as numbers, [plans, variables]: the place of an option, or a number itself."""
        columns = [_column(variable, plans) for variable in self._variables]
        return np.array(columns, dtype=np.float64).T.reshape(len(plans), len(self._variables))

    def predict(self, figure: str, rows: Matrix) -> Matrix:
        """Return the metric, or the logarithm of the latency (ms), of plans."""
        return np.asarray(self._forests[figure].predict(rows), dtype=np.float64)

    def explained(self, figure: str) -> float:
        """Return the part of the variance among held-out trials that is explained."""
        values = self._figures[figure][self._held]
        off = ((self.predict(figure, self._rows[self._held]) - values) ** 2).sum()
        spread = ((values - values.mean()) ** 2).sum()
        return float(1 - off / spread) if spread > 0 else 0.0

    def importance(self, figure: str) -> Importance:
        """Return which decisions matter for a figure."""
        names = [self._variables[i]["name"] for i in self._live]
        axes: dict[str, list[int]] = {}
        for i in self._live:
            axes.setdefault(self._variables[i]["axis"], []).append(i)
        harm = self._harm(figure, [[i] for i in self._live] + list(axes.values()))
        single = dict(zip(names, harm[: len(names)], strict=True))
        joint = dict(zip(axes, harm[len(names) :], strict=True))
        return Importance(figure, self.explained(figure), _shares(single), _shares(joint))

    def costs(self, plans: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
        """Return what each decision of some plans costs of the metric, by what the forest saw.

        Returns:
            For each plan, variable name -> the prediction for the plan less that for the same plan with the variable
            left as in the teacher. Decisions about teaching that are numbers are left out.
        """
        rows = self.rows(plans)
        chosen = [
            [i for i in self._live if self._variables[i]["name"] in plan and not self._variables[i]["range"]]
            for plan in plans
        ]
        if not any(chosen):
            return [{} for _ in plans]
        others = []
        for row, variables in zip(rows, chosen, strict=True):
            for i in variables:
                other = row.copy()
                other[i] = 0.0
                others.append(other)
        here, without = self.predict("metric", rows), iter(self.predict("metric", np.array(others)))
        return [
            {self._variables[i]["name"]: float(value - next(without)) for i in variables}
            for value, variables in zip(here, chosen, strict=True)
        ]

    def _harm(self, figure: str, columns: Sequence[Sequence[int]]) -> list[float]:
        """Return, for each set of columns, by how much the mean squared error grows when they are dealt out anew."""
        held, values = self._rows[self._held], self._figures[figure][self._held]
        base = float(((self.predict(figure, held) - values) ** 2).mean())
        orders = [np.random.default_rng(seed).permutation(len(held)) for seed in range(DEALS)]
        dealt = np.repeat(held[None], DEALS * len(columns), axis=0)
        for at, (where, order) in enumerate(itertools.product(columns, orders)):
            dealt[at][:, where] = held[order][:, where]
        found = self.predict(figure, dealt.reshape(-1, held.shape[1])).reshape(len(columns), -1)
        errors = ((found - np.tile(values, DEALS)) ** 2).mean(axis=1)
        return [float(error) - base for error in errors]


def grow(entries: Sequence[Entry], variables: Sequence[Mapping[str, Any]]) -> PlanForest | None:
    """Return a forest over finished trials; None where there are too few, or it explains nothing of the metric."""
    if len(entries) < FEWEST or not variables:
        return None
    forest = PlanForest(entries, variables)
    return forest if max(map(forest.explained, ("metric", "latency"))) >= LEAST_EXPLAINED else None


def _column(variable: Mapping[str, Any], plans: Sequence[Mapping[str, Any]]) -> list[float]:
    name, options = variable["name"], variable["options"]
    first = float(options[0]) if variable["range"] else 0.0
    if variable["range"]:
        return [float(plan.get(name, first)) for plan in plans]
    index = {option: float(i) for i, option in enumerate(options)}
    return [index.get(plan[name], 0.0) if name in plan else 0.0 for plan in plans]


def _shares(found: Mapping[str, float]) -> dict[str, float]:
    positive = {name: max(0.0, value) for name, value in found.items()}
    total = sum(positive.values()) or 1.0
    return dict(sorted(((n, v / total) for n, v in positive.items()), key=lambda item: -item[1]))
