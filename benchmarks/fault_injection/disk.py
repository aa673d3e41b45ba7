"""A disk that fills, files that never reached it, and a study on a disk that cannot be written."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .arena import SITE, Arena
from .ledger import Ledger
from .table import Row

SIZE_MB = 48
NOT_WRITTEN_BY_FILES = ("study.db", "study.db-wal", "study.db-shm", "lock")
"""SQLite flushes its files itself; of a lock only its being held counts."""


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Mount a small disk in memory on a folder; yields whether that is allowed here."""
    folder.mkdir(parents=True, exist_ok=True)
    words = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m", "tmpfs", str(folder)]
    done = shutil.which("mount") and subprocess.run(words, capture_output=True, check=False).returncode == 0
    try:
        yield bool(done)
    finally:
        if done:
            subprocess.run(["umount", "-l", str(folder)], check=False)


def full_disk(folder: Path, times: int, workers: int, say: Callable[[str], None]) -> Row:
    """Fill the disk under a running search, and empty it again before the search is resumed."""
    row = Row("a disk that fills, and is emptied")
    with small_disk(folder / "disk") as mounted:
        if not mounted:
            row.left_out = "no small disk can be mounted here"
            return row
        arena = Arena.make(folder, workers, folder / "disk" / "runs")
        ledger, ballast = Ledger(arena.study), folder / "disk" / "ballast"
        for _ in range(times):
            run = arena.start(1000)
            run.wait_for_trials(2)
            row.times += 1
            _fill(ballast)
            if run.wait_for_end(180.0) is None:
                row.ended.append("went on for three minutes")
                run.kill()
            else:
                row.ended.append(_without(arena.folder, run.complaint) or f"code {run.process.returncode}")
            if run.complaint == "traceback" or run.process.returncode not in (2, 0, -9):
                row.wrong.append(f"ended with code {run.process.returncode} ({_without(arena.folder, run.complaint)})")
            if orphans := run.orphans():
                row.wrong.append(f"{orphans} processes lived on")
            if parts := list(arena.study.rglob(".part-*")):
                row.wrong.append(f"{len(parts)} part files stayed on the full disk")
            ballast.unlink()
            _read(ledger, [run], row)
            say(f"{row.fault}: {row.times} times, {len(row.lost)} lost, {len(row.wrong)} wrong")
        run = arena.start(2)
        if run.wait_for_end(300.0) != 0:
            row.wrong.append(f"not resumed: {run.complaint}")
            run.kill()
        _read(ledger, [run], row)
        ledger.check_files()
        row.wrong += ledger.wrong
    return row


def _fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        for size in (1 << 20, 1 << 12):
            with suppress(OSError):
                while True:
                    file.write(bytes(size))


def _without(folder: Path, line: str) -> str:
    return line.replace(f"{folder}/", "")[:150]


def _read(ledger: Ledger, runs: list, row: Row) -> None:  # type: ignore[type-arg]
    known = len(ledger.lost), len(ledger.wrong), ledger.again, set(ledger.failed)
    ledger.read(runs)
    row.lost += ledger.lost[known[0] :]
    row.wrong += ledger.wrong[known[1] :]
    row.lost += ["a rung that had come to its end was trained again"] * (ledger.again - known[2])
    row.lost += [f"a trial failed: {why}"[:150] for number, why in ledger.failed.items() if number not in known[3]]


def power_loss(folder: Path, times: int, workers: int, say: Callable[[str], None]) -> Row:
    """End a search as a power cut does: of every file that was not flushed to the disk nothing is left but its name."""
    row = Row("power loss: files that were not flushed are empty")
    arena = Arena.make(folder, workers)
    ledger, flushed = Ledger(arena.study), folder / "flushed"
    environment = {"PYTHONPATH": SITE, "FLUSHED_FILES": str(flushed)}
    for count in range(times):
        run = arena.start(1000, environment)
        run.wait_for_trials(3)
        run.kill()
        row.times += 1
        cut = _cut(arena.study, flushed, since=count)
        row.ended += [f"emptied {name}" for name in cut]
        try:
            _read(ledger, [run], row)
        except ValueError as error:
            row.wrong.append(f"a file of the study cannot be read ({error})")
        say(f"{row.fault}: {row.times} times, {len(row.lost)} lost, {len(row.wrong)} wrong")
    run = arena.start(2, environment)
    if run.wait_for_end(400.0) != 0:
        row.wrong.append(f"not resumed: {_without(arena.folder, run.complaint)}")
        run.kill()
    _read(ledger, [run], row)
    wrong = len(ledger.wrong)
    ledger.check_files()
    row.wrong += ledger.wrong[wrong:]
    return row


def _cut(study: Path, flushed: Path, since: int) -> list[str]:
    """Empty the files that were never flushed as they are now; return their names, numbers and keys left out."""
    known = {tuple(map(int, line.split())) for line in flushed.read_text().splitlines()} if flushed.exists() else set()
    cut = []
    for path in sorted(study.rglob("*")):
        if not path.is_file() or path.name in NOT_WRITTEN_BY_FILES or path.suffix == ".lock":
            continue
        found = path.stat()
        if found.st_size and (found.st_ino, found.st_size) not in known:
            os.truncate(path, 0)
            parts = ["N" if part.isdigit() else part for part in path.relative_to(study).parts]
            cut.append("/".join(parts) if parts[0] != "checkpoints" else f"checkpoints/*{path.suffix}")
    return cut


def read_only(folder: Path, finished: Arena) -> Row:
    """Look at a copy of a study that nobody can write: it is shown, and stays as it is."""
    row = Row("a read-only copy that is looked at")
    prefix = _as_anybody()
    if prefix is None:
        row.left_out = "root writes everywhere, and setpriv is not there"
        return row
    copy = folder / "copy"
    shutil.copytree(finished.study, copy)
    for path in (*copy.rglob("*"), copy):
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    before = _state(copy)
    looks: list[list[str]] = [["front"], ["front", "--json"], ["space"], ["pick"], ["verify"], ["report"]]
    for words in looks:
        row.times += 1
        out = ("--out", folder / f"out-{words[0]}.html" if words[0] == "report" else folder / f"out-{words[0]}")
        more = out if words[0] in ("pick", "report") else ()
        done = finished.command(words[0], copy, *words[1:], *more, prefix=prefix)
        if words[0] == "verify" and done.returncode == 2 and "Traceback" not in done.stdout:
            continue  # it looks at what was picked, not at studies
        if done.returncode != 0:
            row.wrong.append(f"{' '.join(words)}: {_without(folder, done.stdout.strip().splitlines()[-1])}")
    if _state(copy) != before:
        row.wrong.append("it was changed")
    for path in (copy, *copy.rglob("*")):
        path.chmod(path.stat().st_mode | stat.S_IWUSR)
    return row


def _as_anybody() -> tuple[str, ...] | None:
    """Return what lets a command run without root's right to write everywhere; None where that cannot be had."""
    if os.geteuid() != 0:
        return ()
    if shutil.which("setpriv") is None:
        return None
    caps = "-dac_override,-dac_read_search,-fowner"
    return ("setpriv", f"--bounding-set={caps}", f"--inh-caps={caps}")


def _state(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in folder.rglob("*")}
