"""Trials as they were measured: milliseconds follow what is known of the teacher by now, all else stays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from autocompress.evaluators.measurement import Latency
from autocompress.search.trial import Trial


def as_measured(trials: Iterable[Trial]) -> list[Any]:
    """What no later moment changes of each trial."""
    return [
        (
            trial.number,
            trial.plan,
            trial.state,
            trial.origin,
            trial.rungs,
            trial.ended_s,
            _ratios(trial.gate),
            _ratios({name: file.latency for name, file in trial.measured.items()}),
            {name: (file.accuracy, file.size_bytes, file.sha256) for name, file in trial.measured.items()},
        )
        for trial in trials
    ]


def _ratios(latencies: Mapping[str, Latency]) -> dict[str, tuple[float, float, float]]:
    return {name: (at.ratio, at.ratio_low, at.ratio_high) for name, at in latencies.items()}
