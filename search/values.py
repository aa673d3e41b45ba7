"""What a trial that ended is worth: the values of its study's objectives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..errors import PluginError
from .objectives import objective_value
from .trial import Origin, Trial, TrialState


def valued(trial: Trial, objectives: Sequence[str]) -> tuple[Trial, list[float] | None]:
    """Return a trial that ended with its objectives in their own units; None where it was not measured.

    One that an objective gives no number for has failed: it has no place on a front, and no sampler learns from it.

    Args:
        trial: The trial.
        objectives: Their names.

    Raises:
        PluginError: There is none of the teacher as it is: nothing could be compared.
    """
    if not trial.measured:
        return trial, None
    try:
        return trial, [objective_value(name, trial.measured) for name in objectives]
    except PluginError as error:
        if trial.origin is Origin.TEACHER:
            raise
        return replace(trial, state=TrialState.FAILED, measured={}, reason=str(error)), None
