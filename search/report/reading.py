"""Reading a study as it stands on disk, without its data, its network or its runtimes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...remarks import remark
from ..feasibility import Limits
from ..objectives import objectives_of
from ..store.database import read_trials
from ..store.facts import read_facts
from ..store.scale import Scale
from ..store.settings import read_settings
from ..store.to_measure import still_to_measure
from ..trial import Trial
from .confirm import by_weight
from .front import Front
from .intact import intact
from .intervals import MetricIntervals, split_sizes
from .looks import read_confirmed


def read_front(folder: Path, trials: Sequence[Trial] | None = None) -> Front:
    """Return the front of a study.

    While the study is being measured anew, what was measured on another machine is left out, and that is said.

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
    if before := still_to_measure(folder, scaled, scale):
        finished = sum(trial.finished for trial in scaled)
        remark(
            f"{folder}: {len(before)} of {finished} finished models are still to be measured anew, and left out; run "
            "the search again, which goes on with that"
        )
    front = Front(
        folder,
        objectives_of(settings),
        scaled,
        read_confirmed(folder, scaled),
        Limits.of(settings, facts),
        settings.target.any_of,
        MetricIntervals.of_share(facts, split_sizes(folder)),
        before,
    )
    return intact(front, by_weight)
