"""Processes that end with the process which started them, however that one ends. Imports nothing of the project."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time

LOOK_S = 1.0
"""Seconds between two looks at the parent, where the operating system does not watch it."""
_PR_SET_PDEATHSIG = 1


def end_with_parent(parent: int) -> None:
    """Let this process be killed as soon as its parent has ended.

    On Linux the kernel does it, even in the middle of a long call of a library. It goes by the parent's thread that
    started this process: that thread must live as long as this process is wanted.

    Args:
        parent: Process id of the parent. It may have ended before this call; then this process ends at once.
    """
    watched = sys.platform == "linux" and _watched_by_kernel()
    if os.getppid() != parent:
        _end()
    if not watched and sys.platform != "win32":
        threading.Thread(target=_watch, args=(parent,), daemon=True, name="parent-watch").start()


def _watched_by_kernel() -> bool:
    try:
        prctl = ctypes.CDLL(None, use_errno=True).prctl
    except (OSError, AttributeError):
        return False
    return bool(prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) == 0)


def _watch(parent: int) -> None:
    # an orphan gets another parent: init, or whoever adopts orphans
    while os.getppid() == parent:
        time.sleep(LOOK_S)
    _end()


def _end() -> None:
    # at once, past every handler: what it would still write, another process may be writing by now
    if sys.platform != "win32":
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(1)
