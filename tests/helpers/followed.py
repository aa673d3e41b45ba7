"""A simulated study whose trials are logged elsewhere, and what must be found there."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from simulated_study import EXAMPLES
from synthetic_spaces import chain

from autocompress.search.followers.base import EndedTrial, Follower
from autocompress.search.followers.following import Followings
from autocompress.search.followers.telling import Telling
from autocompress.search.report.front import Front

SPACE = chain([32, 48] * 2 + [64, 10])
PATIENCE_S = 120.0


def telling(front: Front) -> Telling:
    return Telling(front.folder, front.limits, front.objectives, SPACE.variables, EXAMPLES)


def follow(follower: Follower, front: Front, *counts: int) -> list[str]:
    """Let a follower see so many trials, more and more of them, as a search would; what was said meanwhile.

    That something is still being logged is a matter of the machine, and left out.
    """
    said: list[str] = []
    followings = Followings([follower], telling(front), said.append)
    for count in counts:
        followings.look(front.trials[:count])
        time.sleep(0.05)
    followings.close(PATIENCE_S)
    return [line for line in said if "still being logged" not in line]


def ended(front: Front) -> dict[int, EndedTrial]:
    return {trial.number: trial for trial in telling(front).of(front.trials, 0)}


def events(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()


def tensorboard_holds(folder: Path, trials: dict[int, EndedTrial]) -> None:
    """Each trial once, with all that it has, as TensorBoard's own reader reads it."""
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    finished = [number for number, trial in trials.items() if trial.figures]
    curves = events(folder)
    for name in ("accuracy", "latency_ms", "p95_ms", "size_bytes"):
        points = {event.step: event.value for event in curves.Scalars(name)}
        assert Counter(event.step for event in curves.Scalars(name)) == dict.fromkeys(finished, 1), "each once"
        assert all(math.isclose(points[n], trials[n].figures[name], rel_tol=1e-6) for n in finished)
    assert {event.step for event in curves.Scalars("seconds/measuring")} == set(trials)
    assert max(event.step for event in curves.Scalars("hypervolume")) == list(trials)[-1]
    assert "hypervolume_by_second" in curves.Tags()["scalars"]
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {f"trial-{n:04d}" for n in trials}
    for number, trial in trials.items():
        run = events(folder / f"trial-{number:04d}")
        content = run.summary_metadata["_hparams_/session_start_info"].plugin_data.content
        start = HParamsPluginData.FromString(content).session_start_info.hparams
        for name, option in trial.decisions.items():
            kept = start[name].string_value if isinstance(option, str) else start[name].number_value
            assert kept == option, name
        assert start["state"].string_value == trial.state
        assert [event.value for event in run.Scalars("rungs")] == pytest.approx(trial.rungs) if trial.rungs else True


def until(done: Callable[[], object]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < end_s, "it never came"
        time.sleep(0.05)
