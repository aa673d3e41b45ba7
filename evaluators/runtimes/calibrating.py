"""What some runtimes can do beside: find the ranges of activations by other methods than from least to largest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from .base import BuildRequest, Ranges, Runtime
from .clipping import HISTOGRAM_METHODS

MINMAX, TRAINED = "minmax", "trained"
METHODS = (MINMAX, *HISTOGRAM_METHODS, TRAINED)
"""All methods: the first where nothing else is asked for; the last for inputs of layers whose ranges were trained."""
TRIED = (MINMAX, "percentile-99.99", "mse", TRAINED)
"""Those that are worth a file each where the best is looked for: the others came nearest to no student, see
`benchmarks/calibration_methods.py`."""


@runtime_checkable
class CalibratingRuntime(Runtime, Protocol):
    """A runtime that offers a choice of ranges. Others take them in their own way."""

    def activation_ranges(self, request: BuildRequest, methods: Sequence[str]) -> Mapping[str, Ranges]:
        """Return the ranges of a student's activations by each of some methods.

        Args:
            request: The student with its bits. Its calibration inputs are run once, or twice.
            methods: Of `METHODS`.

        Returns:
            Method -> ranges by tensor, as `BuildRequest.ranges` takes them.

        Raises:
            MeasurementError: The graph cannot be run.
        """
        ...
