"""Trials that ended, as followers log them."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...files import read_object, write_json
from ...spaces.variables import Variable
from ..feasibility import Limits
from ..objectives import objective_value
from ..stopping import growth
from ..store.layout import trial_folder
from ..trial import Trial
from .base import EndedTrial, FollowedStudy

FILE = "followed.json"
PERCENTILES = (50, 95)


def followed_study(folder: Path, objectives: Sequence[str]) -> FollowedStudy:
    """Return a study as followers know it. The first time, an identity is drawn and kept in its folder.

    Raises:
        StorageError: The disk is full or cannot be written, or what was kept cannot be read.
    """
    identity = (read_object(folder / FILE) or {}).get("identity")
    if not isinstance(identity, str):
        identity = f"id{uuid.uuid4().hex[:10]}"
        write_json(folder / FILE, {"identity": identity})
    return FollowedStudy(folder.name, identity, tuple(objectives))


@dataclass(frozen=True)
class Telling:
    """Makes plain figures of trials.

    Attributes:
        folder: The study's folder.
        limits: What the study asks of a model.
        objectives: Names of what its front trades off.
        variables: Of its space.
        examples: Examples that a file is judged on.
    """

    folder: Path
    limits: Limits
    objectives: tuple[str, ...]
    variables: tuple[Variable, ...]
    examples: int

    def of(self, trials: Sequence[Trial], known: int) -> list[EndedTrial]:
        """Return the trials after the first `known` ones, in the order they ended."""
        volumes: list[float | None] = [None] * len(trials)
        for standing in growth(trials, self.limits, self.objectives, self.examples):
            volumes[standing.trials - 1 :] = [standing.volume] * (len(trials) - standing.trials + 1)
        return [self._of(trial, volume) for trial, volume in zip(trials[known:], volumes[known:], strict=True)]

    def _of(self, trial: Trial, volume: float | None) -> EndedTrial:
        ended_at_s = self._ended_at_s(trial)
        known = {variable.name: variable for variable in self.variables}
        unsaid = {name: variable.options[0] for name, variable in known.items()}  # the teacher's own
        return EndedTrial(
            number=trial.number,
            state=str(trial.state),
            label=trial.label,
            reason=trial.reason,
            decisions={n: known[n].shown(o) if n in known else o for n, o in {**unsaid, **trial.plan.choices}.items()},
            figures={name: value for name, value in self._figures(trial).items() if math.isfinite(value)},
            seconds=dict(trial.seconds),
            rungs=trial.rungs,
            begun_at_s=ended_at_s - sum(trial.seconds.values()),
            ended_at_s=ended_at_s,
            searched_s=trial.ended_s or 0.0,
            hypervolume=volume,
        )

    def _figures(self, trial: Trial) -> dict[str, float]:
        if not trial.measured:
            return {}
        found = {name: objective_value(name, trial.measured) for name in self.objectives}
        several = len(self.limits.targets) > 1
        for target, file in trial.measured.items():
            at = f"@{target}" if several else ""
            found[f"{self.limits.metric.key}{at}"] = self.limits.metric.shown(file.accuracy)
            found |= {f"p{p}_ms{at}": file.latency.percentile_ms(p) for p in PERCENTILES}
            found |= {f"size_bytes{at}": float(file.size_bytes), f"compressed_bytes{at}": float(file.compressed_bytes)}
        return found

    def _ended_at_s(self, trial: Trial) -> float:
        try:
            return (trial_folder(self.folder, trial.number) / "plan.json").stat().st_mtime
        except OSError:
            return time.time()
