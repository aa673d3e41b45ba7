"""A database that is locked or gone, a second driver, clocks that jump."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable

from .arena import SITE, Arena, Run
from .disk import _read, _without
from .ledger import Ledger
from .table import Row

LOCKED_S, GONE_S = 40.0, 60.0
DAY_S = 86_400
JUMPS = (400 * DAY_S, -400 * DAY_S, 0, -3600, 3600, 9000 * DAY_S)
"""Seconds."""
DATABASE = ("study.db", "study.db-wal", "study.db-shm")


def locked_database(arena: Arena, times: int, say: Callable[[str], None]) -> Row:
    """Hold the database for 40 s, as a backup or a forgotten shell does."""

    def lock() -> None:
        connection = sqlite3.connect(arena.study / "study.db", timeout=30, isolation_level=None)
        connection.execute("BEGIN EXCLUSIVE")
        time.sleep(LOCKED_S)
        connection.execute("ROLLBACK")
        connection.close()

    return _hurt_database(arena, Row(f"the database locked for {LOCKED_S:.0f} s"), times, lock, say)


def missing_database(arena: Arena, times: int, say: Callable[[str], None]) -> Row:
    """Move the database away for a minute, as a sync tool or a hand does."""
    away = arena.folder / "away"
    away.mkdir(exist_ok=True)

    def take() -> None:
        for name in DATABASE:
            if (arena.study / name).exists():
                (arena.study / name).replace(away / name)
        time.sleep(GONE_S)
        for name in DATABASE:
            if (away / name).exists():
                (away / name).replace(arena.study / name)

    return _hurt_database(arena, Row("the database gone for a minute"), times, take, say)


def _hurt_database(arena: Arena, row: Row, times: int, hurt: Callable[[], None], say: Callable[[str], None]) -> Row:
    ledger = Ledger(arena.study)
    for _ in range(times):
        run = arena.start(1000)
        run.wait_for_trials(2)
        row.times += 1
        hurt()
        before = len(run.reported())
        run.wait(lambda: len(run.reported()) > before, 120.0)  # noqa: B023 (used at once)
        row.ended.append("went on" if run.alive else _without(arena.folder, run.complaint) or "without a word")
        _end(run, row)
        _read(ledger, [run], row)
        say(f"{row.fault}: {row.times} times, {len(row.lost)} lost, {len(row.wrong)} wrong")
    _last(arena, ledger, row)
    return row


def two_drivers(arena: Arena, times: int, say: Callable[[str], None]) -> Row:
    """Start a second search of the same study while one runs."""
    row, ledger = Row("a second driver on one study"), Ledger(arena.study)
    run = arena.start(1000)
    run.wait_for_trials(1)
    for _ in range(times):
        second = arena.start(1000)
        row.times += 1
        code = second.wait_for_end(120.0)
        if code != 2 or len(second.said) > 3 or "open" not in second.complaint:
            row.wrong.append(f"the second was not refused (code {code}: {_without(arena.folder, second.complaint)})")
            second.kill()
    if not run.alive:
        row.wrong.append(f"the first ended: {run.complaint}")
    _end(run, row)
    _read(ledger, [run], row)
    _last(arena, ledger, row)
    say(f"{row.fault}: {row.times} times, {len(row.lost)} lost, {len(row.wrong)} wrong")
    return row


def jumping_clock(arena: Arena, times: int, say: Callable[[str], None]) -> Row:
    """Let the clock on the wall jump by years while a search runs.

    It is that of Python's `time.time` in all its processes. libfaketime would reach further, but with it Python's
    `time.sleep` fails (EINVAL), before any clock has jumped.
    """
    row = Row("clocks that jump")
    ledger, dial, rng = Ledger(arena.study), arena.folder / "dial", random.Random(0)
    dial.write_text("0")
    environment = {"PYTHONPATH": SITE, "CLOCK_DIAL": str(dial)}
    run = arena.start(1000, environment)
    run.wait_for_trials(1)
    for _ in range(times):
        dial.write_text(str(rng.choice(JUMPS)))
        row.times += 1
        seen = len(run.reported())
        run.wait(lambda: len(run.reported()) > seen, 60.0)  # noqa: B023 (used at once)
        if not run.alive:
            row.wrong.append(f"the search ended: {_without(arena.folder, run.complaint)}")
            break
    _end(run, row)
    _read(ledger, [run], row)
    _last(arena, ledger, row)
    say(f"{row.fault}: {row.times} times, {len(row.lost)} lost, {len(row.wrong)} wrong")
    return row


def _end(run: Run, row: Row) -> None:
    if run.complaint == "traceback":
        row.wrong.append("a traceback")
    run.kill()
    if orphans := run.orphans():
        row.wrong.append(f"{orphans} processes lived on")


def _last(arena: Arena, ledger: Ledger, row: Row) -> None:
    run = arena.start(2)
    if run.wait_for_end(400.0) != 0:
        row.wrong.append(f"not resumed: {_without(arena.folder, run.complaint)}")
        run.kill()
    _read(ledger, [run], row)
    wrong = len(ledger.wrong)
    ledger.check_files()
    row.wrong += ledger.wrong[wrong:]
