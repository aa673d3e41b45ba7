"""Energy where the platform counts it: CPU packages through Linux' RAPL counters, NVIDIA GPUs through NVML.

Where nothing is counted there is no meter: energy is never estimated from time or load.

What is counted is all that the package or the board did, and not one process alone: whatever else runs is in it, and
so is what the machine draws at rest. Compare only what was measured in turns, over seconds and not over milliseconds.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ...errors import MeasurementError, one_line

POWERCAP = Path("/sys/class/powercap")


class EnergyMeter:
    """A running total of energy.

    Attributes:
        what: Whose energy, in words, such as "package-0".
    """

    def __init__(self, what: str, counters: Sequence[Callable[[], float]]) -> None:
        """Begin at zero.

        Args:
            what: Whose energy, in words.
            counters: Each gives the joules since it was made, never falling.
        """
        self.what = what
        self._counters = tuple(counters)

    @classmethod
    def for_device(cls, device: str, powercap: Path = POWERCAP) -> EnergyMeter | None:
        """Return the meter of a device.

        Args:
            device: "cpu" (all packages together: a process may move between them) or "cuda" (the GPU alone).
            powercap: The folder of the kernel's power zones.

        Returns:
            The meter, None for other devices and where nothing is counted or may be read: RAPL has been for root alone
            since Linux 5.10, unless the files' mode is changed.
        """
        if device == "cpu":
            return cls._of_packages(powercap)
        return cls._of_gpu() if device == "cuda" else None

    def joules(self) -> float:
        """Return the energy since the meter was made, in joules.

        Raises:
            MeasurementError: A counter can no longer be read.
        """
        try:
            return sum(counter() for counter in self._counters)
        except Exception as error:
            raise MeasurementError(
                f"energy of {self.what} can no longer be read: {one_line(error)}; leave energy out"
            ) from error

    @classmethod
    def _of_packages(cls, powercap: Path) -> EnergyMeter | None:
        zones: dict[str, _RaplZone] = {}
        try:
            for folder in sorted(powercap.glob("intel-rapl:*")):  # AMD's too; intel-rapl-mmio counts the same again
                name = (folder / "name").read_text().strip()
                # parts (core, dram: intel-rapl:0:0) are in their package or beside it, psys holds the packages
                if folder.name.count(":") == 1 and name.startswith("package"):
                    zones.setdefault(name, _RaplZone(folder))
        except (OSError, ValueError):
            return None  # some packages of several would be too little
        return cls(", ".join(zones), [zone.joules for zone in zones.values()]) if zones else None

    @classmethod
    def _of_gpu(cls) -> EnergyMeter | None:
        try:
            pynvml: Any = importlib.import_module("pynvml")  # nvidia-ml-py
            pynvml.nvmlInit()
            handle = _gpu(pynvml)
            first = None if handle is None else pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
        except Exception:  # not installed, no driver, or a GPU before Volta, which does not count
            return None
        if first is None:
            return None
        # millijoules since the driver was loaded, renewed some ten times a second
        return cls("GPU", [lambda: (pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) - first) / 1e3])


class _RaplZone:
    """One power zone of Documentation/power/powercap/powercap.rst of the Linux kernel.

    Its counter starts again at zero after max_energy_range_uj; one such turn between two readings is seen, so it must
    be read every few minutes.

    Raises:
        OSError: Its files cannot be read.
        ValueError: They hold no numbers.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "energy_uj"
        self._range = int((folder / "max_energy_range_uj").read_text())
        self._last = int(self._file.read_text())
        self._total = 0

    def joules(self) -> float:
        """Return the energy since this was made."""
        now = int(self._file.read_text())
        self._total += now - self._last + (self._range if now < self._last else 0)
        self._last = now
        return self._total / 1e6


def _gpu(nvml: Any) -> Any | None:
    # NVML's handle of the first GPU that CUDA shows this process; None where it cannot be told which that is: CUDA
    # counts GPUs by speed unless told otherwise, NVML by their place on the bus.
    shown = os.environ.get("CUDA_VISIBLE_DEVICES", "").partition(",")[0].strip()
    if shown.startswith("GPU-"):
        return nvml.nvmlDeviceGetHandleByUUID(shown)
    if nvml.nvmlDeviceGetCount() == 1:
        return nvml.nvmlDeviceGetHandleByIndex(0)
    if os.environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID":
        return nvml.nvmlDeviceGetHandleByIndex(int(shown or 0))
    return None
