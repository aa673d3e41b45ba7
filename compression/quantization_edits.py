"""Edits of a student's weights that may make its file in 8 bits answer more like the student."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

from ..spaces.inputs import Inputs
from .corrected import correct_biases
from .equalized import equalize

EQUALIZED, CORRECTED = "+equalized", "+biases"
EDITS: Mapping[str, Callable[[nn.Module, Mapping[str, int], Inputs, int], nn.Module | None]] = {
    EQUALIZED: equalize,
    CORRECTED: correct_biases,
}
"""What the name of a calibration ends with -> the edit: (student, layer name -> bits, calibration inputs, largest
code of weights in 8 bits) -> a copy.

Biases come last, as they make up for the rounding of the weights that there are.
"""
FOR_EDITS = 64
"""Calibration inputs that weights are edited by."""
