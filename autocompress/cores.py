"""How many processor cores this process may use. This file imports nothing of the project."""

from __future__ import annotations

import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def usable_cores(cgroup: Path = CGROUP, process: Path = Path("/proc/self/cgroup")) -> int:
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
    shares = [share for folder in _groups(cgroup, process) if (share := _share(folder)) is not None]
    return max(1, min(allowed, *(int(share) for share in shares)) if shares else allowed)


def _groups(cgroup: Path, process: Path) -> list[Path]:
    """Return the folders of the groups that this process is in, and of all above them."""
    found: list[Path] = []
    try:
        lines = process.read_text().splitlines()
    except OSError:
        lines = []
    for line in ("::/", *lines):
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        for root in (cgroup / controllers, cgroup / "cpu") if controllers else (cgroup,):
            inner = root / path.lstrip("/")
            found += [folder for folder in (inner, *inner.parents) if folder == root or root in folder.parents]
    return list(dict.fromkeys(found))


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
