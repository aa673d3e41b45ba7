"""The latency of rows: by the study's own predictors, or learned from what gates measured where there are none."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ....spaces.space import Space
from ....spaces.surrogates import Surrogates
from .coding import Coding, Rows
from .features import Features

Vector = NDArray[np.float64]
FEWEST_TO_CORRECT = 10


class LatencyGuess:
    """Predicts latency (ms); what was measured corrects it by what whole roles do."""

    def __init__(
        self, space: Space, surrogates: Surrogates, coding: Coding, features: Features, rows: Rows, ms: Vector
    ) -> None:
        """Predict for rows of `coding`.

        Args:
            space: The space.
            surrogates: What was known before the first trial.
            coding: Of the space.
            features: Of rows, to learn from where no predictor is known.
            rows: Measured ones.
            ms: Their latencies.
        """
        self._space, self._surrogates, self._coding, self._features = space, surrogates, coding, features
        self._model = None
        self._guessed: dict[bytes, float] = {}
        if not surrogates.latency:
            from sklearn.linear_model import BayesianRidge

            self._model = BayesianRidge().fit(features.of(rows), np.log(np.maximum(ms, 1e-9)))
        self._known: dict[bytes, float] = {row.tobytes(): float(x) for row, x in zip(rows, ms, strict=True)}
        self._correction = None
        if surrogates.latency and len(ms) >= FEWEST_TO_CORRECT:
            from sklearn.linear_model import BayesianRidge

            left = np.log(np.maximum(ms, 1e-9) / np.maximum([self._predicted(row) for row in rows], 1e-9))
            self._correction = BayesianRidge().fit(features.of(rows), left)

    @property
    def teacher_ms(self) -> float:
        """The predicted latency of the teacher."""
        return float(self.ms(np.zeros((1, len(self._coding.variables))))[0])

    def ms(self, rows: Rows) -> Vector:
        """Return the latency [n] of rows [n, variables]."""
        if self._model is not None:
            return np.asarray(np.exp(self._model.predict(self._features.of(rows))))
        found = np.array([self._of(row) for row in rows])
        if self._correction is None or not len(rows):
            return found
        measured = np.array([row.tobytes() in self._known for row in rows])
        return np.where(measured, found, found * np.exp(self._correction.predict(self._features.of(rows))))

    def _of(self, row: Rows) -> float:
        key = row.tobytes()
        return self._known[key] if key in self._known else self._predicted(row)

    def _predicted(self, row: Rows) -> float:
        key = row.tobytes()
        if key not in self._guessed:
            spec = self._space.spec(self._coding.plan(row))
            surrogate = self._surrogates.latency_for(spec.target)
            self._guessed[key] = surrogate.predict_ms(spec) if surrogate else 0.0
        return self._guessed[key]
