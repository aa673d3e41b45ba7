"""What faults do to a study: a search is killed, starved and confused, resumed, and held against its words.

    python benchmarks/faults.py [--only kill term disk database power drivers read-only clock] [--kills 30]
                                [--workers 2] [--folder faults] [--seed 0]

A tiny task is searched with real measurements. Lost: a trial that was reported and is not there, a file, a rung that
had come to its end, a trial that failed although nothing was wrong with it. Wrong: a trial there twice or changed, a
file that answers otherwise, a process that outlived its driver by ten seconds, a traceback, a run that could not be
resumed. The aim is zeros. Takes about an hour on two cores.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from fault_injection.arena import Arena
from fault_injection.compare import compared
from fault_injection.disk import full_disk, power_loss, read_only
from fault_injection.ledger import Ledger
from fault_injection.others import jumping_clock, locked_database, missing_database, two_drivers
from fault_injection.signals import ROLES, Signals
from fault_injection.table import Row, table

KINDS = ("kill", "term", "disk", "database", "power", "drivers", "read-only", "clock")


def say(line: str) -> None:
    """Print a line with the time."""
    print(f"[{time.strftime('%H:%M:%S')}] {line}", flush=True)


def signals(folder: Path, name: str, number: signal.Signals, count: int, workers: int, seed: int) -> list[Row]:
    """Send signals in turn to each role; then compare with a search that was left in peace."""
    arena = Arena.make(folder / name.lower(), workers)
    sender = Signals(arena, name, number, 40.0, seed, say)
    for i in range(count):
        sender.send(ROLES[i % len(ROLES)])
    run = sender.finish(4)
    rows = list(sender.rows.values())
    calm = Arena.make(folder / f"{name.lower()}-undisturbed", workers)
    ended = len(sender.ledger.finished) + len(sender.ledger.failed)
    say(f"an undisturbed search of {ended} trials")
    calm_run, ledger = calm.start(max(8, ended)), Ledger(calm.study)
    if calm_run.wait_for_end(1200.0) != 0:
        calm_run.kill()
    ledger.read([calm_run])
    if ledger.wrong or ledger.lost or ledger.failed:
        say(f"the undisturbed search: {ledger.wrong} {ledger.lost} {ledger.failed}")
    return [*rows, compared(sender.ledger, run, ledger, calm_run)]


def rows_of(kind: str, folder: Path, options: argparse.Namespace) -> list[Row]:
    """Make one kind of fault happen."""
    workers, times = options.workers, options.times
    if kind == "kill":
        return signals(folder, "SIGKILL", signal.SIGKILL, options.kills, workers, options.seed)
    if kind == "term":
        return signals(folder, "SIGTERM", signal.SIGTERM, options.kills, workers, options.seed)
    if kind == "disk":
        return [full_disk(folder / "full", times, workers, say)]
    if kind == "power":
        return [power_loss(folder / "power", times, workers, say)]
    arena = Arena.make(folder / kind, workers)
    if kind == "database":
        return [locked_database(arena, times, say), missing_database(arena, times, say)]
    if kind == "drivers":
        return [two_drivers(arena, 2 * times, say)]
    if kind == "clock":
        return [jumping_clock(arena, 4 * times, say)]
    run = arena.start(6)
    run.wait_for_end(600.0)
    return [read_only(folder, arena)]


def main() -> None:
    """Make faults happen, and print what they did."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--kills", type=int, default=30, help="Signals of one kind.")
    parser.add_argument("--times", type=int, default=3, help="Of every other fault.")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="Where the studies lie; a temporary folder if not given.")
    options = parser.parse_args()
    folder = (options.folder or Path(tempfile.mkdtemp(prefix="faults-"))).resolve()
    rows: list[Row] = []
    for kind in options.only:
        begun_s = time.monotonic()
        rows += rows_of(kind, folder, options)
        say(f"{kind}: {time.monotonic() - begun_s:.0f} s")
    print(table(rows))
    print("\n".join(line for row in rows for line in row.lines()))
    if options.folder is None:
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(int(any(row.lost or row.wrong for row in rows)))


if __name__ == "__main__":
    main()
