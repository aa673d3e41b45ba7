"""Whether another machine measures as the one does that a study is calibrated on.

Latencies of a study are ratios to the teacher. Machines that are called alike may still differ in them, by their
caches, their memory or their neighbours. So a control, whose ratio is far from 1, is measured on both.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from .latency import LatencyMeter
from .timing.agreed import MATERIAL
from .timing.host import TimingHost
from .timing.machine import changes, fingerprint

PROCESSES = 3
"""Fresh processes for the control, on each machine."""
MOST_UNSURE = 0.15
"""Half of the interval of the difference of two log-ratios, above which nothing is known of it."""


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
    assert meter.calibration is not None, "measure() asks for it"
    # how fast the reference is there is not asked: only ratios count
    apart = replace(meter, host=other, watch=None, calibration=replace(meter.calibration, floor_ms=math.inf))
    ratios = []
    for each in (replace(meter, watch=None), apart):
        (latency,) = each.measure([control], PROCESSES, until=meter.precision)
        ratios.append((latency.ratio, math.log(latency.ratio_high / latency.ratio_low) / 2))
    (first, half), (second, other_half) = ratios
    if math.hypot(half, other_half) > MOST_UNSURE:
        return f"other work runs there or on {meter.host.name}, so that a control tells nothing"
    if abs(math.log(second / first)) <= max(MATERIAL, math.hypot(half, other_half)):
        return ""
    return f"a control takes {second:.3f} of the teacher's time there, and {first:.3f} on {meter.host.name}"
