"""Reading a study as it stands on disk, without its data, its network or its runtimes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..feasibility import Limits
from ..objectives import objectives_of
from ..store.facts import read_facts
from ..store.rows import read_trials
from ..store.settings import read_settings
from ..trial import Trial
from .confirm import read_confirmed
from .front import Front


def read_front(folder: Path, trials: Sequence[Trial] | None = None) -> Front:
    """Return the front of a study.

    Args:
        folder: The study's folder.
        trials: Those that ended, where they were read already.

    Raises:
        UsageError: There is no study in this folder.
        StorageError: Its database is corrupt, or another version wrote it.
    """
    settings = read_settings(folder)
    objectives = objectives_of(settings)
    if trials is None:
        trials = read_trials(folder, settings.name)
    numbers = {trial.number for trial in trials}
    confirmed = {number: look for number, look in read_confirmed(folder).items() if number in numbers}
    return Front(
        folder, objectives, tuple(trials), confirmed, Limits.of(settings, read_facts(folder)), settings.target.any_of
    )
