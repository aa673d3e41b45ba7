"""The group of commands, and how mistakes are told."""

from __future__ import annotations

import io
import sys
import traceback
from typing import Any

import click

from ..errors import AutoCompressError


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
        except click.ClickException as error:
            fail(error.format_message())
        except AutoCompressError as error:
            fail(str(error))
        except (click.Abort, KeyboardInterrupt):
            fail("interrupted; what was measured is kept, run the same command again to go on", code=130)
        except BrokenPipeError:
            sys.exit(0)
        except Exception as error:
            import errno

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
            traceback.print_exc()
            sys.exit(1)


def fail(message: str, code: int = 2) -> None:
    """Print one line on standard error, then exit."""
    click.echo(f"autocompress: {' '.join(message.split())}", err=True)
    sys.exit(code)
