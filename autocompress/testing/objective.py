"""What every objective must do, as a test class that a package which brings one runs against it."""

from __future__ import annotations

import math
from dataclasses import replace

from ..evaluators.measurement import Latency, Measurement
from ..search.objectives import Objective

LATENCY = Latency(2.0, 1.9, 2.1, 2.2, 2.3, 2.5, 2.0, 0.5, 0.45, 0.55, 100, 10, 3, False, 5.0, 80.0, {"batch": 1}, 1.5)
FILE = Measurement(0.9, LATENCY, 100_000, 80_000, {"Conv": 3})


class ObjectiveConformance:
    """Subclass it under a name that begins with Test and fill in `make_objective`; pytest does the rest."""

    def make_objective(self) -> Objective:
        """Return the objective under test."""
        raise NotImplementedError("make_objective: return your objective")

    def test_it_is_an_objective_with_a_usable_name(self) -> None:
        """It has all parts of the seam."""
        objective = self.make_objective()
        assert isinstance(objective, Objective)
        assert objective.name.isidentifier()
        assert isinstance(objective.maximized, bool)

    def test_its_value_is_a_finite_number_and_the_same_each_time(self) -> None:
        """It is a function of what was measured."""
        objective = self.make_objective()
        value = objective.value({"onnxruntime": FILE})
        assert isinstance(value, float) and math.isfinite(value)
        assert self.make_objective().value({"onnxruntime": FILE}) == value

    def test_it_tells_models_apart(self) -> None:
        """Some figure of a measurement changes it."""
        objective = self.make_objective()
        slower = replace(LATENCY, p50_ms=3.0, p90_ms=4.0, p95_ms=4.5, p99_ms=5.0, mean_ms=3.0, peak_memory_mb=90.0)
        slower = replace(slower, energy_mj=2.5, load_ms=9.0)
        other = Measurement(0.8, slower, 200_000, 160_000, {"Conv": 5})
        assert objective.value({"onnxruntime": other}) != objective.value({"onnxruntime": FILE})
