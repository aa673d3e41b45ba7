"""Energy: the reader of RAPL's counters against files laid out as the kernel documents them, and real ones if here."""

from __future__ import annotations

import importlib.util
import os
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocompress.errors import MeasurementError
from autocompress.evaluators.timing.energy import EnergyMeter

RANGE_UJ = 262_143_328_850


def zone(root: Path, folder: str, name: str, energy_uj: int, range_uj: int = RANGE_UJ) -> Path:
    """A power zone as in Documentation/power/powercap/powercap.rst; its energy_uj, to be written again."""
    (root / folder).mkdir(parents=True)
    (root / folder / "name").write_text(f"{name}\n")
    (root / folder / "max_energy_range_uj").write_text(f"{range_uj}\n")
    (root / folder / "energy_uj").write_text(f"{energy_uj}\n")
    return root / folder / "energy_uj"


def cpu_meter(root: Path) -> EnergyMeter:
    meter = EnergyMeter.for_device("cpu", root)
    assert meter is not None
    return meter


def test_packages_are_added_up_and_nothing_is_counted_twice(tmp_path: Path) -> None:
    (tmp_path / "intel-rapl").mkdir()  # the control type
    packages = [zone(tmp_path, f"intel-rapl:{i}", f"package-{i}", 1_000_000 * i) for i in (0, 1)]
    others = [
        zone(tmp_path, "intel-rapl:0:0", "core", 5),
        zone(tmp_path, "intel-rapl:0:1", "dram", 5),
        zone(tmp_path, "intel-rapl:2", "psys", 5),
        zone(tmp_path, "intel-rapl-mmio:0", "package-0", 5),
    ]
    meter = cpu_meter(tmp_path)
    assert meter.what == "package-0, package-1"
    assert meter.joules() == 0
    for other in others:
        other.write_text("77000000\n")
    packages[0].write_text("2500000\n")
    packages[1].write_text("1250000\n")
    assert meter.joules() == pytest.approx(2.75)
    assert meter.joules() == pytest.approx(2.75)


@given(st.integers(0, 999), st.lists(st.integers(0, 999), max_size=30))
def test_the_total_never_falls_though_the_counter_starts_again(start_uj: int, steps_uj: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = zone(Path(folder), "intel-rapl:0", "package-0", start_uj, range_uj=1000)
        meter = cpu_meter(Path(folder))
        for done, _ in enumerate(steps_uj, 1):
            spent = sum(steps_uj[:done])
            file.write_text(f"{(start_uj + spent) % 1000}\n")
            assert meter.joules() == pytest.approx(spent / 1e6)


def test_a_platform_that_counts_nothing_gives_no_meter(tmp_path: Path) -> None:
    assert EnergyMeter.for_device("cpu", tmp_path / "absent") is None
    assert EnergyMeter.for_device("cpu", tmp_path) is None
    zone(tmp_path, "intel-rapl:0", "psys", 5)
    assert EnergyMeter.for_device("cpu", tmp_path) is None
    assert EnergyMeter.for_device("no such device", tmp_path) is None


@pytest.mark.parametrize("file", ["energy_uj", "max_energy_range_uj", "name"])
def test_one_package_that_cannot_be_read_is_no_meter_rather_than_half_of_one(tmp_path: Path, file: str) -> None:
    for index in (0, 1):
        zone(tmp_path, f"intel-rapl:{index}", f"package-{index}", 5)
    cpu_meter(tmp_path)
    (tmp_path / "intel-rapl:1" / file).unlink()
    assert EnergyMeter.for_device("cpu", tmp_path) is None


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_counters_for_root_alone_are_no_counters(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", 5).chmod(0)
    assert EnergyMeter.for_device("cpu", tmp_path) is None


def test_a_counter_that_is_taken_away_is_told_in_one_line(tmp_path: Path) -> None:
    file = zone(tmp_path, "intel-rapl:0", "package-0", 5)
    meter = cpu_meter(tmp_path)
    for break_it in (lambda: file.write_text("no number"), file.unlink):
        break_it()
        with pytest.raises(MeasurementError, match="package-0") as caught:
            meter.joules()
        assert "\n" not in str(caught.value)


@pytest.mark.skipif(importlib.util.find_spec("pynvml") is not None, reason="nvidia-ml-py is installed")
def test_without_nvidia_s_library_there_is_no_meter_of_the_gpu() -> None:
    assert EnergyMeter.for_device("cuda") is None


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_machine_that_counts_counts_up(device: str) -> None:
    meter = EnergyMeter.for_device(device)
    if meter is None:
        pytest.skip(f"nothing counts the energy of {device!r} here, or not for this user")
    before = meter.joules()
    until = time.perf_counter() + 1.0
    while time.perf_counter() < until:
        pass
    assert meter.joules() > before >= 0
