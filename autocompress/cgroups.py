"""Linux's control groups, by which containers and schedulers limit processes. Imports nothing of the project."""

from __future__ import annotations

from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
"""Where the kernel shows them."""
PROCESS = Path("/proc/self/cgroup")
"""Says which ones this process is in."""


def control_groups(controller: str, cgroup: Path = CGROUP, process: Path = PROCESS) -> list[Path]:
    """Return the folders of the groups that this process is in, and of all above them: each may set a limit.

    Args:
        controller: What the groups share out: "cpu" or "memory".
        cgroup: Where the kernel shows control groups.
        process: Says which ones this process is in.
    """
    found: list[Path] = []
    try:
        lines = process.read_text().splitlines()
    except OSError:
        lines = []
    # in a container, the groups' own names may be the host's, and all that is seen is the root
    for line in ("::/", f":{controller}:/", *lines):
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers and controller not in controllers.split(","):
            continue
        for root in (cgroup / controllers, cgroup / controller) if controllers else (cgroup,):
            inner = root / path.lstrip("/")
            found += [folder for folder in (inner, *inner.parents) if folder == root or root in folder.parents]
    return list(dict.fromkeys(found))
