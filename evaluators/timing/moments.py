"""The reference's own time from one moment to the next: a machine is not as fast all day.

Each timing process that has the reference in it tells what it took then. All of a study's milliseconds are ratios times
one figure, the reference's median: it is taken over all moments seen, and its interval says how much they differ.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...cache import Cache
from ...files import disk_errors
from ...lines import add_lines, files_of_all, own_file
from .machine import fingerprint
from .spread import Spread

MOMENT_SECONDS = 15.0
"""What is seen within so many seconds is one moment: it shares what slowly changes on the machine."""
INDEPENDENT_SECONDS = 600.0
"""Moments so far apart tell of the machine on their own; nearer ones tell the less that is new, the nearer they are."""
RUN_SECONDS = 3600.0
"""What lies so far apart was seen in two runs, between which a machine may have changed more than within one."""
DRIFT_SD = 0.05
"""Standard deviation of a reference's log-median between moments, taken for granted where a machine is not known.

Four studies of one network within half an hour had medians of 0.31, 0.31, 0.32 and 0.43 ms."""
MEDIAN_EFFICIENCY = 1.25
"""Standard error of a median over that of a mean, of normal values: the square root of half of pi."""
REMEMBERED = 60.0
"""Degrees of freedom that are kept of a machine, so that it may change."""


@dataclass(frozen=True)
class Sight:
    """The reference in one timing process.

    Attributes:
        at_s: When, in seconds since 1970.
        p50_ms: Its median wall time.
        floor_ms: The statistic by which files are compared.
        disturbed: Whether other work was seen on the machine's cores.
    """

    at_s: float
    p50_ms: float
    floor_ms: float
    disturbed: bool


@dataclass(frozen=True)
class Typical:
    """What the reference takes at a typical moment.

    Attributes:
        p50_ms: Median wall time.
        floor_ms: The statistic by which files are compared.
        half_width: Of the 95 % interval of the logarithm of `p50_ms`.
        moments: Number of moments.
        drift: Standard deviation of log-medians between moments.
        disturbed: Whether other work ran at more than two thirds of them, so that those count too.
        seen: The spread of this reference alone, without what was known of the machine. Moments that follow on each
            other within minutes tell little of how moments differ.
    """

    p50_ms: float
    floor_ms: float
    half_width: float
    moments: int
    drift: float
    disturbed: bool
    seen: Spread


def typical(sights: Sequence[Sight], machine: Spread | None = None) -> Typical:
    """Return what the reference takes at a typical moment: the median over moments, of those nothing disturbed.

    Args:
        sights: At least one.
        machine: How much references differed between moments on this machine before.
    """
    calm = [sight for sight in sights if not sight.disturbed]
    disturbed = len(calm) < len(sights) / 3
    moments = _moments(sights if disturbed else calm)
    logs = [float(np.mean([math.log(sight.p50_ms) for sight in moment])) for moment in moments]
    floors = [float(np.mean([math.log(sight.floor_ms) for sight in moment])) for moment in moments]
    independent = _independent(moments)
    seen = Spread.between(logs).capped(independent - 1)
    drift, count = seen + (machine or Spread()), len(moments)
    loss = MEDIAN_EFFICIENCY if count > 2 else 1.0
    return Typical(
        p50_ms=math.exp(float(np.median(logs))),
        floor_ms=math.exp(float(np.median(floors))),
        half_width=loss * drift.half_width(DRIFT_SD) / math.sqrt(independent),
        moments=count,
        drift=drift.sd(DRIFT_SD),
        disturbed=disturbed,
        seen=seen,
    )


def drift_of_run(sights: Sequence[Sight], since_s: float) -> Spread:
    """Return how much the reference differed between the moments of a run, and from the runs before.

    Args:
        sights: All that were seen, in this run and before.
        since_s: When the run began, in seconds since 1970.
    """
    ordered = sorted(sights, key=lambda sight: sight.at_s)
    now = [sight for sight in ordered if sight.at_s >= since_s]
    if not now:
        return Spread()
    within = typical(now).seen
    earlier = _runs([sight for sight in ordered if sight.at_s < since_s])
    if not earlier or now[0].at_s - earlier[-1][-1].at_s < RUN_SECONDS:
        return within
    logs = [math.log(typical(run).p50_ms) for run in earlier]
    apart = math.log(typical(now).p50_ms) - sum(logs) / len(logs)
    # what one more run adds to the squared deviations of runs from their mean
    return within + Spread(apart**2 * len(logs) / (len(logs) + 1), 1)


def _independent(moments: Sequence[Sequence[Sight]]) -> float:
    """Return how many moments that have nothing to do with each other tell as much as these."""
    gaps = (b[0].at_s - a[0].at_s for a, b in itertools.pairwise(moments))
    return 1 + sum(min(1.0, gap / INDEPENDENT_SECONDS) for gap in gaps)


def _runs(ordered: Sequence[Sight]) -> list[list[Sight]]:
    found: list[list[Sight]] = []
    for sight in ordered:
        if found and sight.at_s - found[-1][-1].at_s < RUN_SECONDS:
            found[-1].append(sight)
        else:
            found.append([sight])
    return found


def _moments(sights: Sequence[Sight]) -> list[list[Sight]]:
    found: list[list[Sight]] = []
    for sight in sorted(sights, key=lambda sight: sight.at_s):
        if found and sight.at_s - found[-1][0].at_s < MOMENT_SECONDS:
            found[-1].append(sight)
        else:
            found.append([sight])
    return found


@dataclass(frozen=True)
class Watch:
    """Keeps what the reference took in each timing process, a line each, from several writers on several machines.

    Attributes:
        path: What the files are named by; see `lines`.
    """

    path: Path

    def add(self, sights: Iterable[Sight]) -> None:
        """Add lines. A file that cannot be written is no reason to lose a measurement."""
        text = "".join(json.dumps({**asdict(sight), "at_s": round(sight.at_s, 1)}) + "\n" for sight in sights)
        with contextlib.suppress(OSError):
            add_lines(own_file(self.path), text.encode())

    def forget(self) -> None:
        """Remove all lines: what was seen on another machine says nothing of this one.

        Raises:
            StorageError: The files cannot be removed.
        """
        with disk_errors(self.path):
            for path in files_of_all(self.path):
                path.unlink(missing_ok=True)

    def read(self) -> list[Sight]:
        """Return what was added on all machines; lines that were cut short are left out."""
        lines: list[str] = []
        for path in files_of_all(self.path):
            with contextlib.suppress(OSError):
                lines += path.read_text(encoding="utf-8", errors="replace").splitlines()
        found = []
        for line in lines:
            try:
                sight = Sight(**json.loads(line))
                if sight.p50_ms > 0 and sight.floor_ms > 0:
                    found.append(sight)
            except (TypeError, ValueError):
                continue
        return found


def now_s() -> float:
    """Return the time of a sight."""
    return time.time()


_MACHINE = ("system", "architecture", "device", "device_name", "physical_cores", "logical_cores", "governor")


def _cache() -> Cache[Spread]:
    return Cache("drift", 1, lambda data: Spread(float(data["squares"]), float(data["freedom"])), asdict)


def known_drift(conditions: dict[str, Any]) -> Spread:
    """Return how much references differed between moments on this machine, as far as its user's cache knows."""
    return _cache().read(_key(conditions)) or Spread()


def remember_drift(conditions: dict[str, Any], seen: Spread) -> None:
    """Add what was seen to what is known of this machine."""
    cache, key = _cache(), _key(conditions)
    cache.write(key, ((cache.read(key) or Spread()) + seen).capped(REMEMBERED), device=conditions.get("device_name"))


def _key(conditions: dict[str, Any]) -> str:
    return fingerprint({name: conditions.get(name) for name in _MACHINE})
