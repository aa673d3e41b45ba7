"""Who holds a lock file of this machine, for those who wait for it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import psutil

LOCKS = Path("/proc/locks")


def holders(path: Path) -> str:
    """Return the processes that hold a lock on a file, in words; "another process" where the system does not tell.

    Linux lists locks with the process that took them and the file's inode; see its Documentation/filesystems/proc.
    """
    found = []
    with suppress(OSError, ValueError, IndexError):
        inode = path.stat().st_ino
        for line in LOCKS.read_text().splitlines():
            fields = line.split()
            if fields[1] == "->" or int(fields[5].rpartition(":")[2]) != inode:
                continue
            if (pid := int(fields[4])) > 0:
                found.append(_named(pid))
    return ", ".join(dict.fromkeys(found)) or "another process"


def _named(pid: int) -> str:
    if pid == os.getpid():
        return "this process itself"
    with suppress(psutil.Error, OSError):
        words = " ".join(Path(word).name for word in psutil.Process(pid).cmdline()[:6])
        return f"process {pid} ({words[:80]})"
    return f"process {pid}"
