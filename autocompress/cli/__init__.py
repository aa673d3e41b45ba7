"""The command line. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import click

from .app import Commands
from .bench import bench
from .clean import clean
from .compare import compare
from .export import export
from .front import front
from .pick import pick
from .rebuild import rebuild
from .repair import repair
from .report import report
from .runtimes import runtimes
from .search import search
from .sensitivity import sensitivity
from .space import space
from .status import status, studies
from .verify import verify


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="autocompress", prog_name="autocompress")
def main() -> None:
    """Search compressed versions of a trained PyTorch network that meet a latency budget on this machine."""


_COMMANDS = (search, front, report, compare, pick, verify, rebuild, repair, clean, space, sensitivity, bench, export)
for _command in (*_COMMANDS, status, studies, runtimes):
    main.add_command(_command)
