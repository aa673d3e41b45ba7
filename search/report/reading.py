"""Reading a study as it stands on disk, without its data, its network or its runtimes."""

from __future__ import annotations

from pathlib import Path

from ..feasibility import Limits
from ..objectives import objectives_of
from ..store.facts import read_facts
from ..store.settings import read_settings
from ..store.trials import TrialStore
from .confirm import by_weight
from .front import Front
from .intact import intact
from .intervals import MetricIntervals, split_sizes
from .looks import read_confirmed


def read_front(folder: Path) -> Front:
    """Return the front of a study.

    Raises:
        UsageError: There is no study in this folder.
        StorageError: Its database is corrupt, or another version wrote it.
    """
    settings = read_settings(folder)
    objectives = objectives_of(settings)
    trials = TrialStore(folder, settings.name, objectives).ended()
    facts = read_facts(folder)
    front = Front(
        folder,
        objectives,
        tuple(trials),
        read_confirmed(folder, trials),
        Limits.of(settings, facts),
        settings.target.any_of,
        MetricIntervals.of_share(facts, split_sizes(folder)),
    )
    return intact(front, by_weight)
