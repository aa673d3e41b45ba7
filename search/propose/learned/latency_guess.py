"""The latency of plans: by the study's own predictors, or learned from what gates measured where there are none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ....spaces.plan import Plan
from ....spaces.space import Space
from ....spaces.surrogates import LatencySurrogate, Surrogates
from .coding import Coding, Rows
from .features import Features

Vector = NDArray[np.float64]
FEWEST_TO_CORRECT = 10


class LatencyGuess:
    """Predicts latency (ms); what was measured corrects it by what whole roles do."""

    def __init__(
        self,
        space: Space,
        surrogates: Surrogates,
        coding: Coding,
        features: Features,
        measured: Sequence[tuple[Plan, float]],
        predicted: dict[tuple[str, str], float] | None = None,
    ) -> None:
        """Predict for rows of `coding`.

        Args:
            space: The space.
            surrogates: What was known before the first trial.
            coding: Of the space.
            features: Of rows, to learn from.
            measured: Plans with their latencies (ms).
            predicted: What the study's own predictors said before, by shape and target; filled further.
        """
        from sklearn.linear_model import BayesianRidge

        self._space, self._coding, self._features = space, coding, features
        names = [str(name) for name in space.options("target")] or [""]
        known = {name: found for name in names if (found := surrogates.latency_for(name)) is not None}
        self._predictors: dict[str, LatencySurrogate] = known if len(known) == len(names) else {}
        shapes = [self._shape(plan) for plan, _ in measured]
        self._measured = {shape: ms for shape, (_, ms) in zip(shapes, measured, strict=True)}
        self._predicted = {} if predicted is None else predicted
        self._model = None
        if not self._predictors or len(measured) >= FEWEST_TO_CORRECT:
            rows = np.array([coding.row(plan) for plan, _ in measured])
            logs = np.log([max(ms, 1e-9) for _, ms in measured])
            if self._predictors:
                guessed = [self._predict(plan, shape) for (plan, _), shape in zip(measured, shapes, strict=True)]
                logs = logs - np.log(np.maximum(guessed, 1e-9))
            self._model = BayesianRidge().fit(features.of(rows), logs)

    def ms(self, plans: Sequence[Plan], rows: Rows) -> Vector:
        """Return the latency [n] of plans, whose rows are [n, variables]; measured where it was measured."""
        if not len(plans):
            return np.zeros(0)
        found = np.ones(len(plans)) if self._model is None else np.exp(self._model.predict(self._features.of(rows)))
        shapes = [self._shape(plan) for plan in plans]
        if self._predictors:
            found = found * np.array([self._predict(plan, shape) for plan, shape in zip(plans, shapes, strict=True)])
        return np.array([self._measured.get(shape, ms) for shape, ms in zip(shapes, found, strict=True)])

    def _predict(self, plan: Plan, shape: tuple[str, str]) -> float:
        if shape not in self._predicted:
            spec = self._space.spec(plan)
            self._predicted[shape] = self._predictors[spec.target].predict_ms(spec)
        return self._predicted[shape]

    def _shape(self, plan: Plan) -> tuple[str, str]:
        spec = self._space.spec(plan)
        return spec.shape_key(), spec.target
