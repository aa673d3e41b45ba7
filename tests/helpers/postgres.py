"""A real PostgreSQL server that tests start for themselves, on a socket in a folder of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

PORT = 5432
"""Names the socket; nothing listens on the network."""


@dataclass
class Postgres:
    """A server with an empty database, trusted by everybody who reaches its socket.

    Attributes:
        programs: Where PostgreSQL's programs lie.
        folder: Where the server lies.
        user: Whom its processes belong to; None for the user of the tests.
    """

    programs: Path
    folder: Path
    user: str | None
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def address(self) -> str:
        """The address of its database, as SQLAlchemy takes it."""
        return f"postgresql+psycopg://tests@/postgres?host={self.folder}&port={PORT}"

    def begin(self) -> None:
        """Start it, and wait until it answers."""
        given = [
            "-D",
            str(self.folder / "data"),
            "-k",
            str(self.folder),
            "-p",
            str(PORT),
            "-c",
            "listen_addresses=",
            "-F",
        ]
        self._process = subprocess.Popen(
            [self.programs / "postgres", *given],
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "server.log").open("ab"),
            **_as(self.user),
        )
        ready = [self.programs / "pg_isready", "-q", "-h", self.folder, "-p", str(PORT)]
        for _ in range(300):
            if self._process.poll() is not None:
                break
            if subprocess.run(ready, check=False).returncode == 0:
                return
            time.sleep(0.1)
        raise RuntimeError(f"the server does not start: {(self.folder / 'server.log').read_text()[-2000:]}")

    def end(self) -> None:
        """Stop it at once, as a machine that is switched off; what was committed is there after the next `begin`."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(30)


@contextlib.contextmanager
def postgres_server() -> Iterator[Postgres]:
    """Start a server; the test is skipped where there is none to start."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    programs = _programs()
    if programs is None:
        pytest.skip("no PostgreSQL server is installed here")
    user = None
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        user = _unprivileged()
        if user is None:
            pytest.skip("PostgreSQL does not run as root, and there is no other user here")
    # a socket's path is short, and another user has to come to it
    with tempfile.TemporaryDirectory(prefix="ac-pg-", dir="/tmp", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        if user is not None:
            shutil.chown(folder, user)
        made = subprocess.run(
            [programs / "initdb", "-D", folder / "data", "-U", "tests", "-A", "trust", "-E", "UTF8", "--no-sync"],
            capture_output=True,
            text=True,
            check=False,
            **_as(user),
        )
        assert made.returncode == 0, made.stderr
        server = Postgres(programs, folder, user)
        server.begin()
        try:
            yield server
        finally:
            server.end()


def _programs() -> Path | None:
    found = shutil.which("initdb")
    if found is not None and (beside := Path(found).resolve().parent / "postgres").exists():
        return beside.parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    return next((path for path in reversed(folders) if (path / "initdb").exists()), None)


def _unprivileged() -> str | None:
    import pwd

    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    return None


def _as(user: str | None) -> dict[str, Any]:
    """Return how a process is started for a user, in a folder that is his to read."""
    if user is None:
        return {}
    import pwd

    entry = pwd.getpwnam(user)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": [], "cwd": "/"}
