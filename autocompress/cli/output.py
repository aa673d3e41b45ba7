"""Standard output, and what becomes of it when its reader has gone."""

from __future__ import annotations

import contextlib
import os
import sys


def tell(line: str) -> bool:
    """Print a line.

    Returns:
        Whether anybody can read it. Where not (`search | head`, a closed terminal), a search goes on all the same.
    """
    try:
        print(line, flush=True)
    except OSError:
        give_up_stdout()
        return False
    return True


def give_up_stdout() -> None:
    """Send what is printed from now on to standard error, or nowhere if that has gone too.

    A front that took a night must still be shown to somebody.
    """
    with contextlib.suppress(OSError, ValueError):
        target = 2 if _is_open(2) else os.open(os.devnull, os.O_WRONLY)
        os.dup2(target, 1)
        sys.stdout.flush()


def _is_open(handle: int) -> bool:
    try:
        os.write(handle, b"")
        return os.fstat(handle).st_nlink >= 0
    except OSError:
        return False
