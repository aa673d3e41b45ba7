"""Trainings: students that are taught in the very same way, and differ in bits alone, share what was trained."""

from __future__ import annotations

from collections.abc import Sequence

from .trial import Trial


class Trainings:
    """Remembers which training belongs to which finished trial."""

    def __init__(self) -> None:
        """Begin with none."""
        self._known: dict[str, list[Trial]] = {}

    def remember(self, trial: Trial) -> None:
        """Take in a trial that ended."""
        if trial.finished and trial.spec.recovery is not None and trial.after is None:
            self._known.setdefault(trial.spec.training_key(), []).append(trial)

    def same(self, trial: Trial) -> Trial | None:
        """Return a trial whose student was taught in the very same way, and only has other bits.

        Its training is this trial's too. Neither the search nor what it is compared with takes over from the other.
        """
        for other in self._known.get(trial.spec.training_key(), ()):
            if other.warm_start is None if trial.by_hand else not other.technique:
                return other
        return None


def trained(ended: Sequence[Trial]) -> list[Trial]:
    """Return the finished trials that were taught themselves.

    Of those that share a training, this is the one that took the longest over it: the others waited for it.
    """
    found: dict[str, Trial] = {}
    for trial in ended:
        if trial.finished and trial.rungs:
            key = trial.spec.training_key()
            other = found.get(key)
            if other is None or trial.seconds.get("training", 0.0) > other.seconds.get("training", 0.0):
                found[key] = trial
    return list(found.values())
