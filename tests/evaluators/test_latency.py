"""Latency: what a user may rely on, and what is told when it fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from onnx_models import conv_chain

from autocompress.errors import ConditionsChanged, MeasurementError, RuntimeUnavailable
from autocompress.evaluators.latency import Calibration, LatencyMeter, is_faster
from autocompress.evaluators.measurement import Latency
from autocompress.evaluators.timing import child as timing_child
from autocompress.evaluators.timing import machine
from autocompress.evaluators.timing.energy import EnergyMeter
from autocompress.evaluators.timing.machine import conditions, fingerprint
from autocompress.evaluators.timing.processes import (
    ProcessTimes,
    TimedFile,
    TimingRequest,
    time_in_fresh_process,
)
from autocompress.evaluators.timing.readings import Readings
from autocompress.evaluators.timing.statistics import choose_statistic
from autocompress.spaces.plain import from_plain, to_plain
from autocompress.spaces.target import Target

pytestmark = pytest.mark.xdist_group("latency")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("latency")
    return {
        "reference": conv_chain(folder / "reference.onnx", channels=32, depth=4),
        "twin": conv_chain(folder / "twin.onnx", channels=32, depth=4),
        "big": conv_chain(folder / "big.onnx", channels=64, depth=8),
    }


@pytest.fixture(scope="module")
def meter(files: dict[str, Path]) -> LatencyMeter:
    meter = LatencyMeter(Target(), files["reference"])
    return replace(meter, calibration=meter.calibrate(processes=2, max_seconds=0.5))


def _alone(path: Path, **target: Any) -> TimingRequest:
    return TimingRequest((TimedFile(path, Target(**target)),), max_seconds=0.2)


def test_a_model_is_as_fast_as_itself_and_a_bigger_one_is_slower(meter: LatencyMeter, files: dict[str, Path]) -> None:
    paths = [files["reference"], files["twin"], files["big"]]
    reference, twin, big = meter.measure(paths, processes=2, max_seconds=0.5)
    assert reference.ratio == pytest.approx(1, rel=0.1)
    assert twin.ratio == pytest.approx(1, rel=0.1)
    assert big.ratio > 2
    assert is_faster(reference, big) == "faster"
    assert is_faster(big, twin) == "slower"
    assert is_faster(twin, twin) == "tie"
    for latency in (reference, twin, big):
        assert latency.low_ms <= latency.p50_ms <= latency.high_ms
        assert latency.ratio_low <= latency.ratio <= latency.ratio_high
        assert latency.p50_ms <= latency.p90_ms <= latency.p95_ms <= latency.p99_ms
        assert latency.samples > 0
        assert latency.load_ms > 0
        assert latency.peak_memory_mb is not None and latency.peak_memory_mb > 10
        assert from_plain(Latency, json.loads(json.dumps(to_plain(latency)))) == latency


def test_a_calibration_survives_json_and_is_refused_on_another_machine(
    meter: LatencyMeter, files: dict[str, Path]
) -> None:
    assert meter.calibration is not None
    stored = from_plain(Calibration, json.loads(json.dumps(to_plain(meter.calibration))))
    assert stored == meter.calibration
    assert replace(meter, calibration=stored).is_current()
    elsewhere = replace(meter, calibration=replace(stored, fingerprint="elsewhere"))
    with pytest.raises(ConditionsChanged, match="calibrate again"):
        elsewhere.measure([files["twin"]])
    changed = replace(stored, conditions={**stored.conditions, "governor": "another"}, fingerprint="elsewhere")
    with pytest.raises(ConditionsChanged, match="governor was another, is"):
        replace(meter, calibration=changed).measure([files["twin"]])
    with pytest.raises(MeasurementError, match="not calibrated"):
        replace(meter, calibration=None).measure([files["twin"]])


def test_a_file_that_cannot_be_timed_is_told_in_one_line(meter: LatencyMeter, tmp_path: Path) -> None:
    corrupt = tmp_path / "corrupt.onnx"
    corrupt.write_bytes(b"no model at all")
    for path in (corrupt, tmp_path / "missing.onnx"):
        with pytest.raises(MeasurementError) as caught:
            meter.measure([path])
        assert path.name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_device_that_is_not_there_is_told_as_such(files: dict[str, Path]) -> None:
    request = _alone(files["reference"], device="no such device")
    with pytest.raises(RuntimeUnavailable, match="no such device"):
        time_in_fresh_process(request)


@pytest.mark.parametrize(("code", "words"), [(1, "MemoryError: out of it"), (-9, "SIGKILL")])
def test_a_timing_process_that_dies_is_an_error_with_its_last_words(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch, code: int, words: str
) -> None:
    died = subprocess.CompletedProcess([], code, "", "Traceback\nMemoryError: out of it\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: died)
    with pytest.raises(MeasurementError, match=words):
        time_in_fresh_process(_alone(files["reference"]))


def test_huge_pages_are_asked_for_beside_what_the_user_has_tuned(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, str]] = []

    def run(*_: object, env: dict[str, str], **__: object) -> subprocess.CompletedProcess[str]:
        seen.append(env)
        return subprocess.CompletedProcess([], 1, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    for tuned in ("", "glibc.malloc.check=1", "glibc.malloc.hugetlb=2"):
        monkeypatch.setenv("GLIBC_TUNABLES", tuned)
        with pytest.raises(MeasurementError):
            time_in_fresh_process(_alone(files["reference"], threads=3))
    asked = "glibc.malloc.hugetlb=1"
    assert [env["GLIBC_TUNABLES"] for env in seen] == [
        asked,
        f"glibc.malloc.check=1:{asked}",
        "glibc.malloc.hugetlb=2",
    ]
    assert {env["OMP_NUM_THREADS"] for env in seen} == {"3"}


def test_what_a_library_prints_before_it_dies_may_be_in_any_encoding(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dying = tmp_path / "dying"
    dying.write_text("#!/bin/sh\nprintf 'no kernel for this pr\\351cision\\n' >&2\nexit 2\n")
    dying.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(dying))
    with pytest.raises(MeasurementError, match=r"no kernel for this pr.cision"):
        time_in_fresh_process(_alone(files["reference"]))


def test_the_fingerprint_does_not_change_with_the_load() -> None:
    now = conditions(Target(), "1.0")
    for passing in ("load_1min", "pressure", "queue_share", "cpu_mhz", "gpu_mhz"):
        assert fingerprint({**now, passing: 99.0}) == fingerprint(now)
    assert fingerprint({**now, "threads": 64}) != fingerprint(now)
    assert fingerprint(json.loads(json.dumps(now))) == fingerprint(now)


def test_a_gpu_whose_driver_does_not_answer_once_is_no_other_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each measurement asks; one that took too long, on a busy machine, ended the search as on another machine."""
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho A GPU, 550.1\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    machine._told_gpu_name.cache_clear()
    before = conditions(Target("onnxruntime", "cuda"), "1.0")
    assert before["device_name"] == "A GPU, 550.1"
    tool.write_text("#!/bin/sh\nexit 9\n")
    assert fingerprint(conditions(Target("onnxruntime", "cuda"), "1.0")) == fingerprint(before)
    machine._told_gpu_name.cache_clear()
    assert conditions(Target("onnxruntime", "cuda"), "1.0")["device_name"] is None, "one that never answered has none"
    tool.write_text("#!/bin/sh\necho A GPU, 550.1\n")
    assert fingerprint(conditions(Target("onnxruntime", "cuda"), "1.0")) == fingerprint(before), "until it does"
    machine._told_gpu_name.cache_clear()


def test_records_of_earlier_versions_are_still_read() -> None:
    numbers = dict.fromkeys(("p50_ms", "low_ms", "high_ms", "p90_ms", "p95_ms", "p99_ms", "mean_ms"), 2.0)
    ratios = dict.fromkeys(("ratio", "ratio_low", "ratio_high"), 1.0)
    counts = {"samples": 10, "warmup": 3, "processes": 1, "disturbed": False, "load_ms": 1.0, "peak_memory_mb": 50.0}
    latency = from_plain(Latency, {**numbers, **ratios, **counts, "conditions": {"batch": 8}})
    assert latency.energy_mj is None
    assert latency.throughput_per_s == pytest.approx(4000)


def test_the_peak_memory_of_a_file_does_not_depend_on_its_company(files: dict[str, Path], meter: LatencyMeter) -> None:
    """What one file gives back to the allocator the next one takes unseen: each is measured on its own."""
    alone = time_in_fresh_process(replace(_alone(files["twin"]), max_rounds=0)).reference.peak_memory_mb
    assert alone is not None
    for company in (["twin", "big"], ["big", "reference", "twin"]):
        latencies = meter.measure([files[name] for name in company], max_seconds=0.1)
        assert latencies[company.index("twin")].peak_memory_mb == pytest.approx(alone, rel=0.1)


def test_conditions_say_what_went_on_meanwhile_in_plain_numbers(meter: LatencyMeter) -> None:
    assert meter.calibration is not None
    facts = meter.calibration.conditions
    for name in ("pressure", "queue_share", "cpu_mhz", "gpu_mhz"):
        assert facts[name] is None or facts[name] >= 0
    if Path("/proc/thread-self/schedstat").exists():
        assert facts["queue_share"] is not None


class _Counter(EnergyMeter):
    """A counter of half a joule at each reading."""

    def __init__(self) -> None:
        self.read = 0

    def joules(self) -> float:
        self.read += 1
        return 0.5 * self.read


def test_energy_is_told_where_it_is_counted_and_never_made_up(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    request = replace(_alone(files["twin"]), max_seconds=0.05)
    monkeypatch.setattr(EnergyMeter, "for_device", lambda _: None)
    uncounted = timing_child.measure(request)
    assert uncounted.reference.energy_mj is None
    monkeypatch.setattr(EnergyMeter, "for_device", lambda _: _Counter())
    counted = ProcessTimes.from_dict(json.loads(json.dumps(timing_child.measure(request).to_dict())))
    assert counted.reference.energy_mj is not None
    assert 0 < counted.reference.energy_mj <= 500  # half a joule over at least one inference

    def told(*runs: ProcessTimes) -> float | None:
        statistic = choose_statistic(Target(), True)
        readings = Readings(request.files, (statistic,), runs, ({"batch": 1},), peaks_mb=(1.0,))
        return readings.latency(0, readings.p50(0), readings.ratio(0)).energy_mj

    assert told(uncounted) is None
    assert told(counted) == pytest.approx(counted.reference.energy_mj)


def test_a_counter_that_stops_counting_costs_the_energy_alone(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(_Counter):
        def joules(self) -> float:
            raise MeasurementError("energy of GPU can no longer be read")

    monkeypatch.setattr(EnergyMeter, "for_device", lambda _: Broken())
    found = timing_child.measure(replace(_alone(files["twin"]), max_seconds=0.05))
    assert found.reference.energy_mj is None and found.reference.wall_ms.size > 0


def test_where_cpu_time_is_counted_in_long_ticks_the_wall_tells_what_files_take(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows and in sandboxes: most inferences took no CPU time at all there, and nothing could be timed."""
    monkeypatch.setattr(time, "process_time_ns", lambda: time.perf_counter_ns() // 10**7 * 10**7)
    request = replace(_alone(files["twin"]), files=(TimedFile(files["twin"], Target()),) * 2, max_seconds=0.1)
    found = ProcessTimes.from_dict(json.loads(json.dumps(timing_child.measure(request).to_dict())))
    assert (found.reference.cpu_ms == found.reference.wall_ms).all() and (found.reference.cpu_ms > 0).all()
    statistic = choose_statistic(Target(), True)
    readings = Readings(request.files, (statistic, statistic), (found,), ({}, {}), peaks_mb=(1.0, 1.0))
    assert readings.ratio(1).log == pytest.approx(0, abs=1)
    assert readings.conditions(1)["statistic"] == "wall time, 20% quantile"


def test_a_clock_that_others_take_some_time_of_is_fine_all_the_same() -> None:
    """Another thread may run between two looks at it."""
    told = iter([0, 5_000_000, 5_000_200])
    assert machine.is_fine(lambda: next(told))


def test_a_file_for_another_batch_is_refused_and_not_timed_as_something_else(tmp_path: Path) -> None:
    fixed = conv_chain(tmp_path / "fixed.onnx", batch=4)
    with pytest.raises(MeasurementError, match=r"batch of 4, asked for 1"):
        time_in_fresh_process(_alone(fixed))
    assert time_in_fresh_process(_alone(fixed, batch=4)).reference.wall_ms.size > 0
