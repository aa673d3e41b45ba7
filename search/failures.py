"""When failed trials are no bad luck any more, and which of them are tried once more."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence

from ..errors import MeasurementError
from .trial import Origin, Trial, TrialState

MANY_FAILURES = 8
"""So many failed trials in a row are not bad luck of single plans."""
TRIES = 2
"""Plans that were tried in such a row fail for good where they did so often."""


def check_failures(trials: Sequence[Trial]) -> None:
    """Refuse to go on where nothing but failures came of the last trials.

    Args:
        trials: Of one run, in the order they ended.

    Raises:
        MeasurementError: The last `MANY_FAILURES` failed.
    """
    last = trials[-MANY_FAILURES:]
    if len(last) == MANY_FAILURES and all(map(_failed, last)):
        raise MeasurementError(f"the last {MANY_FAILURES} trials failed, the latest because {last[-1].reason}")


def to_try_again(trials: Sequence[Trial]) -> set[int]:
    """Return the numbers of failed trials that the next run takes for plans which were not tried yet.

    They are those of a row of failures that ended the last run, whose plans are not to blame as a rule; and the
    teacher's own, with which all is compared.

    Args:
        trials: Of all runs, in the order they ended.
    """
    found = {trial.number for trial in trials if _failed(trial) and trial.origin is Origin.TEACHER}
    times = Counter(trial.spec.key() for trial in trials if _failed(trial))
    row = list(itertools.takewhile(_failed, reversed(trials)))
    if len(row) >= MANY_FAILURES:
        found |= {trial.number for trial in row if times[trial.spec.key()] < TRIES}
    return found


def _failed(trial: Trial) -> bool:
    return trial.state is TrialState.FAILED
