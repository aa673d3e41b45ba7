"""Whether the terminal that a command was started in is still there. Imports nothing of the project."""

from __future__ import annotations

import errno


def terminal_is_gone() -> bool:
    """Tell whether standard output or standard error goes to a terminal that was closed: writing gives EIO then."""
    try:
        import termios
    except ImportError:  # Windows
        return False
    for handle in (1, 2):
        try:
            termios.tcgetattr(handle)
        except termios.error as error:
            if error.args and error.args[0] == errno.EIO:  # a file, a pipe, or what is closed says another
                return True
    return False
