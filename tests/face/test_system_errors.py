"""What an operating system refuses is told in one line, and output that nobody reads is no fault."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from autocompress.cli.app import Commands

Cli = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("number", ["EACCES", "EPERM", "ENAMETOOLONG", "ELOOP", "ENOTDIR", "EISDIR"])
def test_a_file_that_cannot_be_had_is_told_in_one_line(capsys: pytest.CaptureFixture[str], number: str) -> None:
    group = Commands()

    @group.command()
    def look() -> None:
        code = getattr(errno, number)
        raise OSError(code, os.strerror(code), Path("/home/other/study"))

    with pytest.raises(SystemExit) as left:
        group.main(["look"])
    err = capsys.readouterr().err
    assert left.value.code == 2 and len(err.splitlines()) == 1 and "/home/other/study: " in err


def test_a_fault_of_ours_keeps_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    group = Commands()

    @group.command()
    def look() -> None:
        raise OSError(errno.EBADF, "what is it")

    with pytest.raises(SystemExit) as left:
        group.main(["look"])
    assert left.value.code == 1 and "Traceback" in capsys.readouterr().err


def test_a_connection_that_broke_is_not_the_output(capsys: pytest.CaptureFixture[str]) -> None:
    """As of a task that reads its data from another machine."""
    group = Commands()

    @group.command()
    def look() -> None:
        ours, theirs = socket.socketpair()
        theirs.close()
        with ours:
            ours.sendall(b"next")

    with pytest.raises(SystemExit) as left:
        group.main(["look"])
    err = capsys.readouterr().err
    assert left.value.code == 1 and "sendall" in err and "BrokenPipeError" in err


@pytest.mark.parametrize("name", ["ETIMEDOUT", "ENODEV", "ENXIO", "ESTALE", "EIO"])
@pytest.mark.parametrize("path", [None, "/mnt/data/images.npz"])
def test_only_what_names_a_file_or_can_be_of_a_disk_alone_is_laid_to_the_disk(
    capsys: pytest.CaptureFixture[str], name: str, path: str | None
) -> None:
    group = Commands()

    @group.command()
    def look() -> None:
        number = getattr(errno, name)
        raise OSError(number, os.strerror(number), path)

    with pytest.raises(SystemExit) as left:
        group.main(["look"])
    err = capsys.readouterr().err
    of_a_disk = path is not None or name in ("ESTALE", "EIO")
    assert ("the disk gives an error" in err) == of_a_disk and ("Traceback" in err) == (not of_a_disk)
    assert left.value.code == (2 if of_a_disk else 1)


@pytest.mark.parametrize("command", ["clean", "repair", "front"])
def test_names_that_cannot_be_are_told_in_one_line(cli: Cli, tmp_path: Path, command: str) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "file").write_text("")
    for name in ("x" * 300, "a\0b", "", tmp_path / "loop" / "x", tmp_path / "file" / "x", "/" + "a/" * 3000):
        code, _, err = cli(command, name)
        assert code == 2 and len(err.splitlines()) == 1, (name, err)


@pytest.mark.parametrize(
    "content", ["a folder", b"\0", b"0" * 64 + b"  a\0b\n", b"0" * 64 + b"  " + b"x" * 300 + b"\n"]
)
def test_a_list_of_checksums_that_is_none(cli: Cli, tmp_path: Path, content: bytes | str) -> None:
    (tmp_path / "deploy").mkdir()
    path = tmp_path / "deploy" / "SHA256SUMS"
    path.mkdir() if isinstance(content, str) else path.write_bytes(content)
    for folder in (tmp_path, tmp_path / "deploy"):
        code, _, err = cli("verify", folder)
        assert code == 2 and len(err.splitlines()) == 1, err


def test_without_a_command_the_help_is_shown_as_it_is(cli: Cli) -> None:
    code, out, err = cli()
    assert code == 2 and out == ""
    assert err.splitlines()[0].startswith("Usage: autocompress") and len(err.splitlines()) > 10


@pytest.mark.parametrize("arguments", [("--help",), ("front", "--help"), ("--version",), ()])
def test_output_that_nobody_reads_is_no_fault(arguments: tuple[str, ...], tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "autocompress", *arguments]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, cwd=tmp_path, check=False)
    os.close(writing)
    assert done.returncode == (0 if arguments else 2)
    assert "Traceback" not in done.stderr and "BrokenPipe" not in done.stderr
