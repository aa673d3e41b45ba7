"""Signals at random moments: to the driver, to a worker, to a timing process."""

from __future__ import annotations

import contextlib
import random
import signal
import time
from collections.abc import Callable

import psutil

from .arena import Arena, Role, Run
from .ledger import Ledger
from .table import Row

Say = Callable[[str], None]
ROLES: tuple[Role, ...] = ("driver", "worker", "timing")
MANY = 100_000
"""Trials of a run that is not meant to come to its end by itself."""
FINDS_S = 90.0
"""Seconds in which a process of the wanted role must turn up."""


class Signals:
    """Sends signals into one study, in turn to each of its roles, and resumes it whenever it has ended."""

    def __init__(
        self,
        arena: Arena,
        name: str,
        number: signal.Signals,
        longest_s: float,
        seed: int,
        say: Say = print,
        settles_s: float = 20.0,
    ) -> None:
        """Send nothing yet.

        Args:
            arena: Where the study lies.
            name: Of the signal.
            number: The signal.
            longest_s: Until the next signal.
            seed: Of the moments and of the processes.
            say: Takes a line about what became of a signal.
            settles_s: In which a search ends, if it does, that lost a worker or a timing process.
        """
        self._settles_s = settles_s
        self._arena, self._signal, self._say = arena, number, say
        self._random, self._longest_s = random.Random(seed), longest_s
        self.ledger = Ledger(arena.study)
        self.rows: dict[Role, Row] = {role: Row(f"{name} of {_words(role)}") for role in ROLES}
        self._run: Run | None = None

    def send(self, role: Role) -> None:
        """Wait for a random moment, and hurt a process of this role."""
        if self._run is None:
            self._run = self._arena.start(MANY)
        run, row = self._run, self.rows[role]
        run.wait(lambda: False, self._random.uniform(0.2, self._longest_s))
        run.wait(lambda: bool(run.members(role)), FINDS_S)
        found = run.members(role)
        if not found or not run.alive:
            row.ended.append(f"no process of this role turned up ({run.complaint or 'the search goes on'})")
            self._settle(row)
            return
        victim = self._random.choice(found)
        row.times += 1
        with contextlib.suppress(psutil.Error):
            victim.send_signal(self._signal)
        if role == "driver":
            self._after_driver(run, row)
        else:
            gone = run.wait(lambda: not run.alive, self._settles_s)
            row.ended.append(run.complaint or "without a word" if gone else "went on")
        self._settle(row)

    def _after_driver(self, run: Run, row: Row) -> None:
        begun_s = time.monotonic()
        if run.wait_for_end(120.0) is None:
            row.wrong.append("the driver did not end within two minutes")
            run.kill()
        took_s = time.monotonic() - begun_s
        if self._signal != signal.SIGKILL:
            if took_s > 30 and run.reported():
                row.wrong.append(f"it took {took_s:.0f} s to end")
            if run.process.returncode not in (0, 2, 130, 143):
                row.wrong.append(f"it ended with code {run.process.returncode}, and printed no front")
            row.ended.append(run.complaint or f"with code {run.process.returncode}")
        if orphans := run.orphans():
            row.wrong += [f"{orphans} of its processes lived on"]

    def _settle(self, row: Row) -> None:
        """Where the search has ended, hold its folder against what was seen before."""
        run = self._run
        if run is None or run.alive:
            return
        if run.complaint == "traceback":
            row.wrong.append("a traceback")
        if orphans := run.orphans():
            row.wrong.append(f"{orphans} processes lived on")
        self._look([run], row)
        self._run = None

    def _look(self, runs: list[Run], row: Row) -> None:
        lost, wrong, again, failed = (
            len(self.ledger.lost), len(self.ledger.wrong), self.ledger.again, set(self.ledger.failed),
        )  # fmt: skip
        self.ledger.read(runs)
        row.lost += self.ledger.lost[lost:]
        row.wrong += self.ledger.wrong[wrong:]
        row.lost += ["a rung that had come to its end was trained again"] * (self.ledger.again - again)
        reasons = {number: why for number, why in self.ledger.failed.items() if number not in failed}
        for reason in reasons.values():
            guilty = self.rows["timing"] if "timing process" in reason else row
            guilty.lost.append(f"a trial failed: {reason}".replace(f"{self._arena.study}/", "")[:200])
        said = f"{row.fault}: {row.times} times, {len(row.lost)} lost, {len(row.wrong)} wrong"
        self._say(f"{said}; {len(self.ledger.finished)} models")

    def finish(self, trials: int) -> Run:
        """Let the study come to an end undisturbed, after so many more trials."""
        if self._run is not None:
            self._run.kill()
            self._look([self._run], self.rows["driver"])
        run = self._arena.start(trials)
        row = self.rows["driver"]
        if run.wait_for_end(600.0) != 0:
            row.wrong.append(f"the last run ended with {run.process.poll()}: {run.complaint}")
            run.kill()
        self._look([run], row)
        wrong = len(self.ledger.wrong)
        self.ledger.check_files()
        row.wrong += self.ledger.wrong[wrong:]
        if parts := list(self._arena.study.rglob(".part-*")):
            row.wrong.append(f"{len(parts)} part files are left")
        if left := self._arena.left_behind:
            row.wrong.append(f"{len(left)} temporary files are left, such as {left[0].name}")
        return run


def _words(role: Role) -> str:
    return {"driver": "the driver", "worker": "a worker", "timing": "a timing process"}[role]
