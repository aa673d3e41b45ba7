"""The group of commands, and how mistakes are told."""

from __future__ import annotations

import errno
import io
import os
import sys
import traceback
from contextlib import suppress
from typing import Any

import click

from ..errors import AutoCompressError

REFUSED = (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR)
"""What a system says of a file that a user named and cannot have."""


class _NobodyReads(Exception):
    """Whoever took the output has ended, as `head` does. Click would leave with an exit code of 1."""


class Commands(click.Group):
    """Shows what a user did wrong in one line (exit code 2), and anything else with a traceback (exit code 1)."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run a command; see `click.Group.main`."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")  # a container's output may take ASCII alone
        try:
            return super().main(*args, **{**kwargs, "standalone_mode": False})
        except click.exceptions.Exit as leave:
            sys.exit(leave.exit_code)
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message(), err=True)
            sys.exit(error.exit_code)
        except click.ClickException as error:
            fail(error.format_message())
        except AutoCompressError as error:
            fail(str(error))
        except (click.Abort, KeyboardInterrupt):
            fail("interrupted; what was measured is kept, run the same command again to go on", code=130)
        except (BrokenPipeError, _NobodyReads):
            _leave_quietly()
        except Exception as error:
            from ..errors import one_line
            from ..files import is_trouble
            from ..terminal import terminal_is_gone

            if (
                isinstance(error, OSError)
                and error.errno == errno.EIO
                and error.filename is None
                and terminal_is_gone()
            ):
                sys.exit(0)  # it was shown in a terminal that was closed
            if is_trouble(error):
                fail(f"{one_line(error)}: the disk gives an error; check it and run the same command again")
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                fail(f"the disk is full ({error.filename or 'while writing'}); free some space and run it again")
            if isinstance(error, OSError) and error.errno in REFUSED and error.filename:
                name = error.filename if isinstance(error.filename, str | bytes | os.PathLike) else str(error.filename)
                fail(f"{os.fsdecode(name)}: {error.strerror}; give a file or folder that you may read and write")
            traceback.print_exc()
            sys.exit(1)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Read the command line; see `click.Group.make_context`."""
        try:
            return super().make_context(*args, **kwargs)
        except BrokenPipeError as error:
            raise _NobodyReads from error

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was named; see `click.Group.invoke`."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise _NobodyReads from error


def _leave_quietly() -> None:
    """Leave without another try to write what is still held back for the output."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(0)


def fail(message: str, code: int = 2) -> None:
    """Print one line on standard error, then exit."""
    click.echo(f"autocompress: {' '.join(message.split())}", err=True)
    sys.exit(code)
