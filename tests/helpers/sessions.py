"""Which processes there are of one session: a program that was started with `start_new_session`, and what it began."""

from __future__ import annotations

import os
from contextlib import suppress

import psutil


def processes_of_session(leader: int) -> list[int]:
    """Return the processes of a session; also those that ended and that nobody has waited for."""
    found = []
    for pid in psutil.pids():
        with suppress(OSError):
            if os.getsid(pid) == leader:
                found.append(pid)
    return found
