"""The teacher's own time: seen again in every measurement, typical of all moments, as sure as they agree."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from onnx_models import conv_chain

from autocompress.evaluators.latency import CALIBRATED_DISTURBED, Calibration, LatencyMeter, in_scale, marked
from autocompress.evaluators.measurement import Latency
from autocompress.evaluators.timing import moments
from autocompress.evaluators.timing.moments import Sight, Watch, typical
from autocompress.evaluators.timing.spread import Spread
from autocompress.spaces.plain import from_plain, to_plain
from autocompress.spaces.target import Target

pytestmark = pytest.mark.xdist_group("latency")


def calibration(p50_ms: float = 0.43, disturbed: bool = False) -> Calibration:
    return Calibration(p50_ms, p50_ms / 1.05, p50_ms * 1.05, p50_ms, 3, disturbed, "this machine", {"threads": 1})


def sights(*p50_ms: float, disturbed: bool = False, every_s: float = 60.0) -> list[Sight]:
    return [Sight(i * every_s, ms, ms, disturbed) for i, ms in enumerate(p50_ms)]


def latency(ratio: float, reference_ms: float) -> Latency:
    ms = ratio * reference_ms
    ends = (ms, ms / 1.06, ms * 1.06, 1.2 * ms, 1.3 * ms, 1.5 * ms, 1.1 * ms)
    return Latency(*ends, ratio, ratio / 1.02, ratio * 1.02, 100, 10, 1, False, 1.0, 50.0, {"disturbances": []})


def test_a_calibration_that_later_turns_out_wrong_is_put_right_and_its_interval_says_how_the_machine_drifts() -> None:
    """As of four studies of one teacher: 0.31, 0.31, 0.32 and 0.43 ms."""
    first = calibration(0.43)
    now = first.seen_again(sights(0.43, 0.31, 0.31, 0.32, 0.31, 0.32))
    assert now.p50_ms == pytest.approx(0.315, rel=0.02) and now.moments == 6
    assert now.low_ms < 0.31 < 0.32 < now.high_ms
    steady = first.seen_again(sights(0.31, 0.31, 0.31, 0.31, 0.31, 0.31))
    assert math.log(steady.high_ms / steady.low_ms) < math.log(now.high_ms / now.low_ms)
    at_once = first.seen_again(sights(0.31, 0.31, 0.31, 0.31, every_s=1.0))
    assert at_once.moments == 1 and at_once.high_ms > steady.high_ms, "seconds apart are one moment"


def test_moments_seconds_apart_do_not_count_as_if_they_had_nothing_to_do_with_each_other() -> None:
    """A machine that is slow for some minutes is so at all of their moments."""
    near, far = (typical(sights(*[0.31, 0.32] * 10, every_s=s)) for s in (16.0, 600.0))
    assert near.moments == far.moments == 20 and near.p50_ms == far.p50_ms
    few, many = 1 + 19 * 16 / 600, 20
    assert near.seen.freedom == pytest.approx(few - 1) and far.seen.freedom == many - 1
    assert near.seen.sd(0.0) < far.seen.sd(0.0) and near.half_width > far.half_width * math.sqrt(many / few)
    two_runs = [replace(s, at_s=s.at_s + day * 86400) for day in (0, 1) for s in sights(0.31, 0.32, every_s=16.0)]
    assert typical(two_runs).half_width > typical(sights(0.31, 0.32, 0.31, 0.32, every_s=600.0)).half_width


def test_what_is_kept_of_a_machine_holds_how_runs_differ_from_each_other() -> None:
    """Steady within each run, and 10 % apart from one day to the next."""
    first, second = sights(*[0.30] * 20, every_s=60.0), sights(*[0.33] * 20, every_s=60.0)
    second = [replace(sight, at_s=sight.at_s + 86400) for sight in second]
    alone = moments.drift_of_run(first, 0.0)
    assert alone.squares == pytest.approx(0.0) and alone.freedom == pytest.approx(1.9)
    both = moments.drift_of_run([*first, *second], 86400.0)
    assert both.squares == pytest.approx(math.log(1.1) ** 2 / 2) and both.freedom == pytest.approx(2.9)
    soon = [replace(sight, at_s=sight.at_s - 86400 + 1800) for sight in second]
    assert moments.drift_of_run([*first, *soon], 1800.0).freedom == pytest.approx(1.9), "it is the same run"
    assert moments.drift_of_run(first, 1e6) == Spread()


def test_what_a_machine_is_known_for_counts_until_the_study_knows_better() -> None:
    unsteady, steady = Spread(30 * 0.15**2, 30), Spread(30 * 0.005**2, 30)
    one = sights(0.31)
    widths = [typical(one, machine).half_width for machine in (unsteady, None, steady)]
    assert widths[0] > widths[1] > widths[2] and widths[0] > 0.25 and widths[2] < 0.04


def test_moments_with_other_work_do_not_count_unless_there_are_hardly_others() -> None:
    busy = sights(0.9, 0.9, disturbed=True)
    calm = [replace(sight, at_s=sight.at_s + 600) for sight in sights(0.31, 0.32)]
    assert typical([*busy, *calm]).p50_ms == pytest.approx(0.315, rel=0.01)
    assert not typical([*busy, *calm]).disturbed
    assert typical(busy).disturbed and typical(busy).p50_ms == pytest.approx(0.9)


def test_a_disturbed_calibration_marks_every_millisecond_until_it_is_put_right() -> None:
    found = marked(latency(0.5, 0.43), calibration(disturbed=True))
    assert found.disturbed and CALIBRATED_DISTURBED in found.conditions["disturbances"]
    assert in_scale(latency(0.5, 0.43), calibration(disturbed=True)).disturbed
    later = in_scale(found, calibration(disturbed=False))
    assert not later.disturbed and later.conditions["disturbances"] == []
    own = replace(found, conditions={"disturbances": ["waited 30% of the time for a core", CALIBRATED_DISTURBED]})
    assert in_scale(own, calibration()).disturbed, "what disturbed its own processes stays"


def test_what_an_older_version_saw_disturbed_stays_so_when_the_calibration_is_put_right() -> None:
    old = replace(latency(0.5, 0.43), disturbed=True, conditions={})
    later = in_scale(in_scale(old, calibration(disturbed=True)), calibration())
    assert later.disturbed and CALIBRATED_DISTURBED not in later.conditions["disturbances"]


def test_milliseconds_follow_the_calibration_and_ratios_stay() -> None:
    before = latency(0.5, 0.43)
    after = in_scale(before, calibration(0.31))
    assert after.p50_ms == pytest.approx(0.155) and after.ratio == before.ratio
    assert after.p99_ms / after.p50_ms == pytest.approx(before.p99_ms / before.p50_ms)
    half = math.hypot(math.log(1.02), math.log(1.05))
    assert after.low_ms == pytest.approx(0.155 / math.exp(half)) and after.high_ms == pytest.approx(
        0.155 * math.exp(half)
    )
    assert in_scale(after, calibration(0.31)) is not None and in_scale(after, calibration(0.31)) == after


def test_a_watch_takes_lines_from_many_and_leaves_out_what_was_cut_short(tmp_path: Path) -> None:
    watch = Watch(tmp_path / "teacher.jsonl")
    assert watch.read() == []
    watch.add(sights(0.31, 0.32))
    watch.add(sights(0.33))
    (own,) = tmp_path.iterdir()
    with own.open("a") as file:
        file.write('{"at_s": 1.0, "p50')
    assert [sight.p50_ms for sight in watch.read()] == [0.31, 0.32, 0.33]
    watch.add(sights(0.34))
    assert [sight.p50_ms for sight in watch.read()] == [0.31, 0.32, 0.33, 0.34], "half a line takes no other with it"
    Watch(tmp_path / "none" / "teacher.jsonl").add(sights(0.31))  # a folder that is gone costs no measurement


def test_machines_that_share_a_folder_write_no_file_of_each_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(tmp_path / "teacher.jsonl")
    watch.path.write_text(json.dumps(asdict(sights(0.3)[0])) + "\n")  # of an earlier version
    for name, p50_ms in (("board-1.lab", 0.31), ("board 2/x", 0.32), ("", 0.33)):
        monkeypatch.setattr("platform.node", lambda name=name: name)
        before = {path: path.read_bytes() for path in tmp_path.iterdir()}
        watch.add(sights(p50_ms))
        watch.add(sights(p50_ms))
        assert {path: path.read_bytes() for path in before} == before
        assert len(list(tmp_path.iterdir())) == len(before) + 1
    assert sorted(sight.p50_ms for sight in watch.read()) == [0.3, 0.31, 0.31, 0.32, 0.32, 0.33, 0.33]
    watch.forget()
    assert watch.read() == [] and not list(tmp_path.iterdir())


def test_what_is_remembered_of_a_machine_is_pooled_and_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOCOMPRESS_CACHE", str(tmp_path))
    here, there = {"device": "cpu", "device_name": "one"}, {"device": "cpu", "device_name": "another"}
    assert moments.known_drift(here) == Spread()
    for _ in range(40):
        moments.remember_drift(here, Spread(5 * 0.01**2, 5))
    known = moments.known_drift(here)
    assert known.freedom == moments.REMEMBERED and math.sqrt(known.squares / known.freedom) == pytest.approx(0.01)
    assert moments.known_drift(there) == Spread()


def test_a_meter_sees_its_reference_in_every_measurement(tmp_path: Path) -> None:
    reference = conv_chain(tmp_path / "reference.onnx", channels=32, depth=4)
    meter = LatencyMeter(Target(), reference, watch=Watch(tmp_path / "teacher.jsonl"))
    meter = replace(meter, calibration=meter.calibrate(processes=2, max_seconds=0.3))
    assert meter.calibration is not None and meter.calibration.spread.freedom >= 2
    assert from_plain(Calibration, json.loads(json.dumps(to_plain(meter.calibration)))) == meter.calibration
    begun = len(meter.watch.read()) if meter.watch else 0
    meter.measure([reference], max_seconds=0.2)
    assert meter.watch is not None and len(meter.watch.read()) > begun >= 2
    assert np.isfinite(meter.seen().p50_ms)
