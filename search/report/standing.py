"""How a study stands, while it is searched and afterwards: what `status` and `studies` tell."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import AutoCompressError, one_line
from ...evaluators.measurement import ms_text
from ...spaces.plain import to_plain
from ..store.database import database_of
from ..store.settings import read_settings
from ..store.status import Status, read_status
from ..trial import TrialState
from .entry import Entry
from .front import Front
from .reading import read_front

MOST_FAILURES = 5
"""Reasons of failures that are told, the latest."""


@dataclass(frozen=True)
class Standing:
    """How a study stands.

    Attributes:
        front: Its front so far.
        owner: The machines and processes that have it open, in words; empty if nobody has.
        status: What its search says of itself, None where it says nothing.
    """

    front: Front
    owner: str
    status: Status | None

    @property
    def best(self) -> Entry | None:
        """The model that `pick` would take now."""
        return next(iter(self.front.fitting), None)

    @property
    def counts(self) -> Counter[str]:
        """Number of trials in each state in which they ended."""
        return Counter(str(trial.state) for trial in self.front.trials)

    @property
    def failures(self) -> list[tuple[int, str]]:
        """Number and reason of the latest failed trials."""
        failed = [t for t in self.front.trials if t.state is TrialState.FAILED]
        return [(t.number, t.reason) for t in failed[-MOST_FAILURES:]]

    def lines(self) -> list[tuple[str, str]]:
        """Return rows of two columns."""
        counts, status = self.counts, self.status
        found = [
            ("state", self._state()),
            ("trials", f"{counts['finished']} finished, {counts['gated']} stopped at the gate{_unended(status)}, "
                       f"{counts['failed']} failed"),
            ("best", _told(self.best, self.front)),
        ]  # fmt: skip
        if status is not None:
            found += [("now", doing) for doing in status.doing]
            found += [("worker", line) for line in _table(status)]
        return found + [("failed", f"trial {number}: {reason}") for number, reason in self.failures]

    def as_plain(self) -> dict[str, Any]:
        """Return the same for a program."""
        status, best = self.status, self.best
        return {
            "study": self.front.folder.name,
            "running": bool(self.owner),
            "host": None if status is None else status.host,
            "process": None if status is None else status.process,
            "noted_at": None if status is None else status.at_s,
            "time_left_s": None if status is None else status.time_left_s,
            "doing": [] if status is None else list(status.doing),
            "queued": None if status is None else status.queued,
            "workers": [] if status is None else [to_plain(worker) for worker in status.workers],
            "waiting": None if status is None else status.waiting,
            "trials": dict(self.counts),
            "failures": [{"trial": number, "reason": reason} for number, reason in self.failures],
            "best": None if best is None else {
                "trial": best.number,
                best.metric.key: best.accuracy,
                "p50_ms": best.reported_latency.p50_ms,
                "target": best.target,
            },
        }  # fmt: skip

    def _state(self) -> str:
        if not self.owner:
            return "no search runs"
        if self.status is None:
            return f"open, {self.owner}"
        left = self.status.time_left_s
        ends = "until Ctrl-C" if left is None else f"{_duration(max(0.0, left))} left"
        return f"running, {self.owner}; {ends}, as of {_duration(max(0.0, time.time() - self.status.at_s))} ago"


def read_standing(folder: Path) -> Standing:
    """Return how a study stands.

    Args:
        folder: The study's folder.

    Raises:
        UsageError: There is no study in this folder.
        StorageError: It cannot be read.
    """
    drivers = database_of(folder, read_settings(folder).name).drivers()
    words = " and ".join(driver.words for driver in sorted(drivers, key=lambda driver: not driver.keeper))
    return Standing(read_front(folder), words, read_status(folder, drivers))


def list_studies(runs: Path) -> list[tuple[str, str, str, str]]:
    """Return the studies in a folder, by name: name, state, finished trials, and the best model or what is wrong.

    Args:
        runs: Where studies lie.
    """
    found = []
    for path in sorted(runs.glob("*/study.json")):
        try:
            standing = read_standing(path.parent)
        except AutoCompressError as error:
            found.append((path.parent.name, "cannot be read", "", one_line(error)))
            continue
        state = "running" if standing.owner else ""
        best = _told(standing.best, standing.front)
        found.append((path.parent.name, state, str(standing.counts["finished"]), best))
    return found


def _unended(status: Status | None) -> str:
    """Return how many trials run, are queued and wait, where a search tells."""
    if status is None:
        return ""
    queued = "" if not status.queued else f", {status.queued} of them queued"
    return f", {len(status.doing)} running{queued}, {status.waiting} waiting at a rung"


def _table(status: Status) -> list[str]:
    """Return a line for each worker: machine, number, what it did at the last note, and for how long by then."""
    rows = [
        (worker.host, str(worker.number), worker.doing if worker.trial is None else f"trial {worker.trial}",
         _duration(max(0.0, status.at_s - worker.since_s)))
        for worker in status.workers
    ]  # fmt: skip
    wide = [max((len(row[column]) for row in rows), default=0) for column in range(4)]
    return [f"{a:{wide[0]}}  {b:>{wide[1]}}  {c:{wide[2]}}  {d:>{wide[3]}}" for a, b, c, d in rows]


def _told(best: Entry | None, front: Front) -> str:
    where = f" under {', '.join(words)}" if (words := front.limits.in_words()) else ""
    if best is None:
        return f"no model{where} yet"
    target = f" on {best.target}" if len(front.targets) > 1 else ""
    p50 = f"p50 {ms_text(best.reported_latency.p50_ms)} ms{target}"
    return f"trial {best.number}{where}: {best.metric.name} {best.metric_text}, {p50}"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
