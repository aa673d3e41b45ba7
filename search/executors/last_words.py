"""A last line for a process that a library ends without a word."""

from __future__ import annotations

import contextlib
import subprocess
import sys

_TELL = "import sys; sys.stdin.buffer.read(1) or print(sys.argv[1], file=sys.stderr)"
ENDS_S = 5.0
"""Seconds that the teller has to end by itself."""


class LastWords:
    """Says a line on standard error where this process ends before `close`, whatever ended it.

    Ray ends a driver at once, with exit code 1, when it loses its cluster: no code of ours runs then.
    A small process waits for that.
    """

    def __init__(self, line: str) -> None:
        """Begin to watch.

        Args:
            line: What is said.
        """
        command = [sys.executable, "-S", "-E", "-c", _TELL, line]
        # a session of its own: Ctrl-C is not meant for it
        self._teller = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
        )

    def close(self) -> None:
        """End well: nothing is said."""
        assert self._teller.stdin is not None
        with contextlib.suppress(OSError, ValueError):  # an earlier call was broken off
            self._teller.stdin.write(b".")
            self._teller.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._teller.wait(ENDS_S)
