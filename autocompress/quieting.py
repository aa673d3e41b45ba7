"""Keeping libraries quiet that print and warn about what does not concern a user. Imports nothing of the project."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quietly(level: int = logging.WARNING, stdout: bool = True, stderr: bool = False) -> Iterator[None]:
    """Meanwhile, drop warnings, log records up to a level, and what Python code writes to standard output.

    Args:
        level: Log records of this level and below are dropped, of all loggers.
        stdout: Whether standard output is dropped too. It is one for all threads of the process.
        stderr: Whether standard error is dropped too, likewise.
    """
    before = logging.root.manager.disable
    logging.disable(max(before, level))
    try:
        with warnings.catch_warnings(), contextlib.ExitStack() as stack:
            warnings.simplefilter("ignore")
            if stdout:
                stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
            if stderr:
                stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
            yield
    finally:
        logging.disable(before)
