"""The resource tracker of Python's multiprocessing: a process that all others of a program share, started by the first.

It removes what killed processes leave behind, such as their semaphores. Python neither ends it nor waits for it: it
ends by itself a moment after the program, as a process that nobody waits for.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from multiprocessing import resource_tracker, util
from typing import Any

LAST = -1000
"""Order in which it is ended at the program's end: after all that multiprocessing itself ends then, which needs it."""
WAIT_S = 2.0
"""Seconds to wait for its end; a process that the user left running may keep it."""


def start_resource_tracker() -> None:
    """Start the tracker without its words at the end, and let it end with this program; once, however often called.

    It counts the semaphores of a worker that was killed for leaked. It removes them as well, which is all that matters.
    """
    tracker: Any = resource_tracker._resource_tracker
    if tracker._fd is None:
        util.Finalize(None, _end, exitpriority=LAST)  # not sooner: others of this program may use it as well
    words = "ignore:resource_tracker:UserWarning"
    sys.warnoptions.append(words)  # it is started with the options of this process
    try:
        resource_tracker.ensure_running()
    finally:
        sys.warnoptions.remove(words)


def _end() -> None:
    """Let go of the tracker, which ends once all processes have, and wait for it. Does nothing in other processes."""
    tracker: Any = resource_tracker._resource_tracker
    held, pid = tracker._fd, tracker._pid
    if held is None or pid is None:
        return  # it ended, or another process had started it
    tracker._fd = tracker._pid = None  # whoever needs one hereafter starts another
    until_s = time.monotonic() + WAIT_S
    with contextlib.suppress(OSError):
        os.close(held)
        while os.waitpid(pid, os.WNOHANG) == (0, 0) and time.monotonic() < until_s:
            time.sleep(0.01)
