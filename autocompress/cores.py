"""How many processor cores this process may use. Imports nothing of the project but control groups."""

from __future__ import annotations

import os
from pathlib import Path

from .cgroups import CGROUP, PROCESS, control_groups


def usable_cores(cgroup: Path = CGROUP, process: Path = PROCESS) -> int:
    """Return the cores that this process may use: those of the machine, unless its container or its mask allow fewer.

    A container may have a share of all cores in place of some of its own, so that the system's count says nothing.

    Args:
        cgroup: Where the kernel shows control groups.
        process: Says which ones this process is in.
    """
    try:
        allowed = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows have no masks
        allowed = os.cpu_count() or 1
    shares = [share for folder in control_groups("cpu", cgroup, process) if (share := _share(folder)) is not None]
    return max(1, min(allowed, *(int(share) for share in shares)) if shares else allowed)


def _share(folder: Path) -> float | None:
    """Return the cores that a group allows at a time, None where it allows all or does not say."""
    try:
        if (whole := folder / "cpu.max").is_file():
            quota, period = whole.read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text().strip()
        cores = int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # "max", or nothing of the kind here
        return None
    return cores if cores > 0 else None
