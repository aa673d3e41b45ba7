"""A disturbed calibration is made again, but not at the price of the search."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest

from autocompress.evaluators.latency import Calibration, LatencyMeter
from autocompress.evaluators.timing.moments import Sight, Watch, known_drift
from autocompress.search.evaluate.recalibration import keep_drift
from autocompress.search.evaluate.target_session import CALIBRATIONS, MOST_OF_WHAT_IS_LEFT, _calibrated
from autocompress.search.executors.base import ExecutorContext


@dataclass(frozen=True)
class Meter:
    """Calibrates as often as it is asked to, always disturbed."""

    calls: list[float]
    seconds: float
    calibration: Calibration | None = None
    watch: Watch | None = None

    def calibrate(self) -> Calibration:
        """Take a while."""
        if self.watch is not None:
            self.watch.add([Sight(1e9 + len(self.calls), 5.0, 5.0, True)])
        begun_s = time.monotonic()
        while time.monotonic() < begun_s + self.seconds:
            pass
        self.calls.append(begun_s)
        return Calibration(1.0, 0.9, 1.1, 1.0, 3, True, "this machine", {})


@pytest.mark.parametrize(("part", "times"), [(None, CALIBRATIONS), (20.0, CALIBRATIONS), (0.5, 1)])
def test_it_is_made_again_where_that_takes_a_small_part_of_what_is_left(part: float | None, times: int) -> None:
    meter = Meter([], 0.05)
    left_s = None if part is None else part * meter.seconds / MOST_OF_WHAT_IS_LEFT
    said: list[str] = []
    found = _calibrated(cast(LatencyMeter, cast(Any, meter)), said.append, lambda: left_s)
    assert len(meter.calls) == times and found.calibration is not None and found.calibration.disturbed
    assert "stayed busy" in said[-1]


def test_what_the_teacher_took_on_another_machine_does_not_count_once_it_is_calibrated_anew(tmp_path: Path) -> None:
    """Forty moments of 10 ms would outweigh one of 5 ms: every millisecond of the study would be twice what it is."""
    watch = Watch(tmp_path / "teacher.jsonl")
    watch.add([Sight(60.0 * i, 10.0, 10.0, False) for i in range(40)])
    meter = Meter([], 0.0, watch=watch)
    found = _calibrated(cast(LatencyMeter, cast(Any, meter)), lambda line: None, lambda: None)
    assert found.calibration is not None and {sight.p50_ms for sight in watch.read()} == {5.0}
    assert len(watch.read()) == CALIBRATIONS, "both calibrations are of this machine"
    assert found.calibration.seen_again(watch.read()).p50_ms == pytest.approx(5.0)


def test_what_a_run_saw_of_the_machine_is_kept_for_the_studies_after_it(
    opened_context: ExecutorContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOCOMPRESS_CACHE", str(tmp_path / "cache"))
    ((name, session),) = opened_context.context.sessions.items()
    watch = Watch(tmp_path / "teacher.jsonl")
    watched = replace(session, meter=replace(session.meter, watch=watch))
    context = replace(opened_context.context, sessions={name: watched})
    conditions = dict(session.calibration.conditions)
    keep_drift(context, since_s=0.0)
    assert known_drift(conditions).freedom == 0, "nothing was seen of the teacher"
    watch.add(Sight(1e9 + 600 * i, ms, ms, False) for i, ms in enumerate((0.30, 0.36, 0.33, 0.31)))
    keep_drift(context, since_s=1e9)
    known = known_drift(conditions)
    assert known.freedom == pytest.approx(3) and 0.05 < known.sd(0.0) < 0.12
    keep_drift(context, since_s=2e9)
    assert known_drift(conditions) == known, "a run that saw nothing adds nothing"
    watch.add(Sight(2e9 + 600 * i, ms, ms, False) for i, ms in enumerate((0.41, 0.42)))
    keep_drift(context, since_s=2e9)
    assert known_drift(conditions).freedom == pytest.approx(5), (
        "one for this run, one for how it differs from the first"
    )
