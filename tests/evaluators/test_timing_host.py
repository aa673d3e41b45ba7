"""Timing hosts: where files are timed, wherever they were built."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from elsewhere import Elsewhere

from autocompress.evaluators.agreement import disagreement
from autocompress.evaluators.latency import LatencyMeter
from autocompress.evaluators.timing.host import HERE, AnotherMachine, TimingHost
from autocompress.evaluators.timing.moments import Watch
from autocompress.evaluators.timing.processes import ProcessTimes, TimingRequest
from autocompress.spaces.target import Target
from autocompress.testing import TimingHostConformance


@pytest.mark.slow
@pytest.mark.xdist_group("latency")
class TestThisMachine(TimingHostConformance):
    def make_host(self) -> TimingHost:
        return HERE


@dataclass(frozen=True)
class Several:
    """Two machines that stand for one: the second measures, until it is gone."""

    first: Elsewhere
    second: Elsewhere
    gone: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.first.name

    def time(self, request: TimingRequest) -> ProcessTimes:
        return self.first.time(request)

    def conditions(self, target: Target) -> dict[str, Any]:
        return self.first.conditions(target)

    @contextmanager
    def chosen(self) -> Iterator[TimingHost]:
        if self.gone:
            yield self.first
            return
        yield self.second
        if len(self.second.asked) > 2:
            self.gone.append(self.second.name)
            raise AnotherMachine


def test_a_meter_times_on_its_host_alone_and_says_so() -> None:
    """Neither file is there: nothing is timed on this machine."""
    host = Elsewhere()
    meter = LatencyMeter.calibrated(Target(), Path("teacher.onnx"), host=host)
    assert meter.calibration is not None and meter.calibration.p50_ms == pytest.approx(2.0, rel=0.1)
    (latency,) = meter.measure([Path("student.onnx")])
    assert latency.ratio == pytest.approx(0.5, rel=0.05) and latency.conditions["host"] == "board-3"
    assert len(host.asked) > 6
    assert not LatencyMeter(Target(), Path("teacher.onnx"), meter.calibration).is_current(), "it is of another machine"


def test_several_machines_measure_for_one_that_is_calibrated(tmp_path: Path) -> None:
    """The second is twice as fast: its ratios count, and what the teacher takes there does not."""
    host = Several(Elsewhere(), Elsewhere("board-4", speed=2.0))
    watch = Watch(tmp_path / "teacher.jsonl")
    meter = LatencyMeter.calibrated(Target(), Path("teacher.onnx"), host=host.first, watch=watch)
    seen, meter = len(watch.read()), replace(meter, host=host)
    (latency,) = meter.measure([Path("student.onnx")])
    assert latency.conditions["host"] == "board-4" and not latency.disturbed
    assert latency.ratio == pytest.approx(0.5, rel=0.05) and latency.p50_ms == pytest.approx(1.0, rel=0.1)
    assert len(watch.read()) == seen
    while not host.gone:
        (latency,) = meter.measure([Path("student.onnx")])
    assert host.gone == ["board-4"] and latency.conditions["host"] == "board-3", "measured anew on the other one"
    assert len(watch.read()) > seen


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (Elsewhere("board-4", speed=0.4), ""),
        (Elsewhere("board-4", second=1.1), "a control takes 0.5.. of the teacher's time there, and 0.50. on board-3"),
        (Elsewhere("board-4", device="a third CPU"), "device name was another CPU, is a third CPU"),
    ],
)
def test_a_machine_that_is_faster_in_all_agrees_and_one_that_is_so_in_part_does_not(
    other: Elsewhere, words: str
) -> None:
    meter = LatencyMeter.calibrated(Target(), Path("teacher.onnx"), host=Elsewhere())
    assert re.fullmatch(words, disagreement(meter, other, Path("int8.onnx")))
