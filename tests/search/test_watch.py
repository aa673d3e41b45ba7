"""What looks on while a search runs: how much of its time it keeps back for confirming the front."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from simulated_study import TARGET, write_study

from autocompress.search.pace import Snapshot, Stop
from autocompress.search.store.settings import read_settings
from autocompress.search.watch import MOST_SHARE, RESERVE_SHARE, Silent, Watch

MINUTES = 10.0


@pytest.mark.parametrize("examples", [10, 10**9])
def test_a_test_split_however_large_leaves_half_of_the_time_to_the_search(tmp_path: Path, examples: int) -> None:
    """It would else end with its first trial, and so would every run that goes on with it."""
    front = write_study(tmp_path / "simulated", 40)
    task = SimpleNamespace(test=range(examples), validation=range(100))
    session = SimpleNamespace(name=TARGET, runtime=None, target=SimpleNamespace(batch=1))
    study: Any = SimpleNamespace(
        folder=front.folder,
        settings=read_settings(front.folder).changed("search", minutes=MINUTES),
        limits=front.limits,
        objectives=front.objectives,
        context=SimpleNamespace(task=task, sessions={TARGET: session}),
        access=SimpleNamespace(keeps=lambda: False),
    )
    decisions: Any = SimpleNamespace(trials=list(front.trials), unfinished=(), searched_s=0.0, opening=True)
    nothing: Any = SimpleNamespace(look=lambda *told: None)
    stop, end_s = Stop(), time.monotonic() + 60 * MINUTES
    watch = Watch(study, decisions, Silent(), stop, end_s, nothing, nothing, nothing)
    watch(Snapshot(front.trials, 0, [], 0.0))
    assert not watch.should_stop() and stop.deadline_s is not None
    kept = (end_s - stop.deadline_s) / (60 * MINUTES)
    assert kept == pytest.approx(MOST_SHARE) if examples > 10 else 0.99 * RESERVE_SHARE < kept < MOST_SHARE
