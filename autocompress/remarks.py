"""Lines for the user about what was found damaged and passed over. Imports nothing of the project."""

from __future__ import annotations

import functools
import logging

LOGGER = "autocompress"
"""Of Python's `logging`: shown on standard error unless a program says otherwise."""


@functools.cache
def remark(line: str) -> None:
    """Say a line; each once in a process, however often the same file is read.

    Args:
        line: Names the file, what is wrong with it, and what it costs.
    """
    logging.getLogger(LOGGER).warning("autocompress: %s", " ".join(line.split()))


@functools.cache
def notice(line: str) -> None:
    """Say what goes on, once in a process. Nothing is wrong yet, so that it is not told as an error is.

    Args:
        line: What is waited for, and since when.
    """
    logging.getLogger(LOGGER).warning("%s", " ".join(line.split()))
