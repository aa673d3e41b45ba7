"""How much memory there is to take. Imports nothing of the project but control groups."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from .cgroups import CGROUP, PROCESS, control_groups

GROUPS = (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes"))
"""Limit and use of a control group: files of its two versions."""


def available_bytes(cgroup: Path = CGROUP, process: Path = PROCESS) -> int:
    """Return the bytes that processes of this machine, or of this container, may still take.

    What a system keeps in memory of files counts as free: it gives that back.

    Args:
        cgroup: Where the kernel shows control groups.
        process: Says which ones this process is in.
    """
    import psutil

    found = [int(psutil.virtual_memory().available)]
    for group in control_groups("memory", cgroup, process):
        for limit, used in GROUPS:
            with suppress(OSError, ValueError):  # "max" where there is no limit
                free = int((group / limit).read_text()) - int((group / used).read_text())
                found.append(max(0, free + _of_files(group / "memory.stat")))
    return min(found)


def _of_files(stat: Path) -> int:
    """Return the bytes that are only kept of files."""
    with suppress(OSError, ValueError):
        for line in stat.read_text().splitlines():
            name, value = line.split()
            if name in ("inactive_file", "total_inactive_file"):
                return int(value)
    return 0


def gibibytes(size_bytes: float) -> str:
    """Return a size as users read it."""
    return f"{size_bytes / 2**30:.1f} GiB"
