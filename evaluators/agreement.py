"""Whether another machine measures as the one does that a study is calibrated on.

Latencies of a study are ratios to the teacher. Machines that are called alike may still differ in them, by their
caches, their memory or their neighbours. So a control, whose ratio is far from 1, is measured on both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from .latency import LatencyMeter
from .timing.agreed import MATERIAL
from .timing.host import TimingHost
from .timing.machine import changes, fingerprint

PROCESSES = 3
"""Fresh processes for the control, on each machine."""
MOST_UNSURE = 0.15
"""Half of the interval of the difference of two log-ratios, above which nothing is known of it."""
LOOKS = 3
"""Looks at a machine that must all find a difference. One alone may have found other work that its interval missed."""
BUSY = "other work"
"""How a difference begins that tells nothing."""


@dataclass(frozen=True)
class ControlRatio:
    """What a control takes on a machine.

    Attributes:
        ratio: Its latency / the reference's there.
        half_width: Half of the 95 % interval of the ratio's logarithm.
        host: The machine's name.
    """

    ratio: float
    half_width: float
    host: str


def control_ratio(meter: LatencyMeter, host: TimingHost, control: Path) -> ControlRatio:
    """Return what a control takes on a machine, beside the reference there.

    Args:
        meter: Calibrated, on any machine.
        host: The machine.
        control: The file.

    Raises:
        MeasurementError: It cannot be timed.
        TimingHostLost: The machine is gone.
    """
    assert meter.calibration is not None, "measure() asks for it"
    # how fast the reference is there is not asked: only ratios count
    calibration = replace(meter.calibration, floor_ms=math.inf) if host is not meter.host else meter.calibration
    there = replace(meter, host=host, watch=None, calibration=calibration)
    (latency,) = there.measure([control], PROCESSES, until=meter.precision)
    return ControlRatio(latency.ratio, math.log(latency.ratio_high / latency.ratio_low) / 2, host.name)


def held_against(meter: LatencyMeter, host: TimingHost, control: Path, first: ControlRatio) -> tuple[ControlRatio, str]:
    """Return what a control takes on a machine, and how that differs from another one, in words: none if it does not.

    Args:
        meter: Calibrated, on any machine.
        host: The machine.
        control: The file.
        first: What it takes on the other one.

    Returns:
        What the last look found, which is the first that finds no difference, and the words.

    Raises:
        MeasurementError: It cannot be timed.
        TimingHostLost: The machine is gone.
    """
    for _ in range(LOOKS):
        found = control_ratio(meter, host, control)
        if not (why := difference(found, first)):
            break
    return found, why


def difference(there: ControlRatio, here: ControlRatio) -> str:
    """Return how what a control takes differs between two machines, in words; empty where it does not."""
    unsure = math.hypot(here.half_width, there.half_width)
    if unsure > MOST_UNSURE:
        return f"{BUSY} runs there or on {here.host}, so that a control tells nothing"
    if abs(math.log(there.ratio / here.ratio)) <= max(MATERIAL, unsure):
        return ""
    return f"a control takes {there.ratio:.3f} of the teacher's time there, and {here.ratio:.3f} on {here.host}"


def tells_nothing(difference: str) -> bool:
    """Tell whether a difference only says that other work ran, so that a later look may find none."""
    return difference.startswith(BUSY)


def disagreement(meter: LatencyMeter, other: TimingHost, control: Path) -> str:
    """Return how another machine differs, in words; empty where its ratios can be taken for those of the first.

    Args:
        meter: Calibrated, of the first machine.
        other: The other machine.
        control: A file whose ratio to the reference is measured on both, such as the teacher in 8 bits.

    Raises:
        MeasurementError: The control cannot be timed.
        TimingHostLost: A machine is gone.
    """
    there, here = other.conditions(meter.target), meter.conditions()
    if fingerprint(there) != fingerprint(here):
        return changes(here, there) or "its record has another form"
    return held_against(meter, other, control, control_ratio(meter, meter.host, control))[1]
