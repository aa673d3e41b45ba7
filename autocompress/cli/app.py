"""The group of commands, and how mistakes are told."""

from __future__ import annotations

import errno
import io
import os
import select
import sys
import traceback
from contextlib import suppress
from typing import Any

import click

from ..errors import AutoCompressError

REFUSED = (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR)
"""What a system says of a file that a user named and cannot have."""


ELSEWHERE_TOO = (errno.ETIMEDOUT, errno.ENODEV, errno.ENXIO)
"""What a system says of connections and devices as well as of disks. It is of a disk where it names a file."""


class _PipeBroke(Exception):
    """What was written to has ended: the output's reader, as `head` does, or a task's connection, or a process.

    Click would take any for the output, and leave with an exit code of 1.
    """


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
        except (BrokenPipeError, _PipeBroke):
            if _nobody_reads():
                _leave_quietly()
            traceback.print_exc()
            sys.exit(1)
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
            of_a_disk = not isinstance(error, OSError) or error.errno not in ELSEWHERE_TOO or error.filename is not None
            if of_a_disk and is_trouble(error):
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
            raise _PipeBroke("what was written to has ended") from error

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was named; see `click.Group.invoke`."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise _PipeBroke("what was written to has ended") from error


def _nobody_reads() -> bool:
    """Tell whether standard output or standard error goes to a pipe whose reader has ended."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()  # what could not be written is still held back, unless nothing is
        except BrokenPipeError:
            return True
        except (AttributeError, OSError, ValueError):
            continue  # there is none, or it fails in another way
    if sys.platform == "win32":
        return False
    poll = select.poll()
    for handle in (1, 2):
        poll.register(handle, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _leave_quietly() -> None:
    """Leave without another try to write what is still held back for the output."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(0)


def fail(message: str, code: int = 2) -> None:
    """Print one line on standard error, then exit."""
    click.echo(f"autocompress: {' '.join(message.split())}", err=True)
    sys.exit(code)
