"""Reading a study as it stands on disk, without its data, its network or its runtimes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..feasibility import Limits
from ..objectives import objectives_of
from ..store.facts import read_facts
from ..store.rows import read_trials
from ..store.scale import Scale
from ..store.settings import read_settings
from ..trial import Trial
from .confirm import by_weight
from .front import Front
from .intact import intact
from .intervals import MetricIntervals, split_sizes
from .looks import read_confirmed


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
    if trials is None:
        trials = read_trials(folder, settings.name)
    facts, scale = read_facts(folder), Scale.of(folder)
    scaled = tuple(scale.trial(trial) for trial in trials)
    front = Front(
        folder,
        objectives_of(settings),
        scaled,
        read_confirmed(folder, scaled),
        Limits.of(settings, facts),
        settings.target.any_of,
        MetricIntervals.of_share(facts, split_sizes(folder)),
    )
    return intact(front, by_weight)
