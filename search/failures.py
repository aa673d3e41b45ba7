"""When failed trials are no bad luck any more."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import MeasurementError
from .trial import Origin, Trial, TrialState

MANY_FAILURES = 8
"""So many failed trials in a row are not bad luck of single plans."""


def check_failures(trials: Sequence[Trial]) -> None:
    """Refuse to go on where nothing but failures came of the last trials.

    Args:
        trials: In the order they ended.

    Raises:
        MeasurementError: The last `MANY_FAILURES` failed.
    """
    last = trials[-MANY_FAILURES:]
    if len(last) == MANY_FAILURES and all(trial.state is TrialState.FAILED for trial in last):
        raise MeasurementError(f"the last {MANY_FAILURES} trials failed, the latest because {last[-1].reason}")


def may_be_tried_again(trial: Trial) -> bool:
    """Tell whether the next run tries a plan as if it had not failed: the teacher's, with which all is compared."""
    return trial.state is TrialState.FAILED and trial.origin is Origin.TEACHER
