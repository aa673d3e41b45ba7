"""Timing hosts: where files are timed, wherever they were built."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autocompress.evaluators.latency import LatencyMeter
from autocompress.evaluators.timing.host import HERE, TimingHost
from autocompress.evaluators.timing.processes import ModelTimes, ProcessTimes, TimingRequest
from autocompress.spaces.target import Target
from autocompress.testing import TimingHostConformance


@pytest.mark.slow
@pytest.mark.xdist_group("latency")
class TestThisMachine(TimingHostConformance):
    def make_host(self) -> TimingHost:
        return HERE


@dataclass(frozen=True)
class Elsewhere:
    """A machine on which the first file takes 2 ms, the second 1 ms, and so on."""

    name: str = "board-3"
    asked: list[TimingRequest] = field(default_factory=list)

    def time(self, request: TimingRequest) -> ProcessTimes:
        self.asked.append(request)
        random = np.random.default_rng(len(self.asked))

        def times(ms: float) -> ModelTimes:
            wall = ms * (1 + 0.01 * np.abs(random.standard_normal((12, 5))))
            return ModelTimes(wall, wall, np.zeros(12), 1.0, 1, 1.0)

        return ProcessTimes(tuple(times(2.0 / (1 + place)) for place in range(len(request.files))))

    def conditions(self, target: Target) -> dict[str, Any]:
        return {**HERE.conditions(target), "host": self.name, "device_name": "another CPU"}


def test_a_meter_times_on_its_host_alone_and_says_so() -> None:
    """Neither file is there: nothing is timed on this machine."""
    host = Elsewhere()
    meter = LatencyMeter.calibrated(Target(), Path("teacher.onnx"), host=host)
    assert meter.calibration is not None and meter.calibration.p50_ms == pytest.approx(2.0, rel=0.1)
    (latency,) = meter.measure([Path("student.onnx")])
    assert latency.ratio == pytest.approx(0.5, rel=0.05) and latency.conditions["host"] == "board-3"
    assert len(host.asked) > 6
    assert not LatencyMeter(Target(), Path("teacher.onnx"), meter.calibration).is_current(), "it is of another machine"
