"""How a running search is shown: live in a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ..search.report.lines import best_line, trial_line
from .output import tell
from .screen import screen

if TYPE_CHECKING:
    from ..search.pace import Snapshot


class PlainProgress:
    """Prints one line for each trial that ends."""

    def __init__(self) -> None:
        """Begin the clock."""
        self._shown: int | None = None
        self._read = True
        self._start_s = time.monotonic()

    def say(self, line: str) -> None:
        """Print a line with the time since the start, as long as anybody reads them."""
        self._read = self._read and tell(f"[{_clock(time.monotonic() - self._start_s)}] {line}")

    def show(self, snapshot: Snapshot, time_left_s: float | None) -> None:
        """Print the trials that have ended since the last call."""
        if self._shown is None:
            # trials of an earlier run are not told again
            self._shown = len(snapshot.trials) - snapshot.new
        for trial in snapshot.trials[self._shown :]:
            self.say(trial_line(trial, snapshot.limits.metric))
        self._shown = len(snapshot.trials)

    def close(self) -> None:
        """Do nothing: nothing is left on the screen to take away."""


class LiveProgress(PlainProgress):
    """Draws a few lines in place: counts, the best model so far, what is running, time left.

    Trials that ended scroll above.
    """

    def __init__(self) -> None:
        """Begin to draw."""
        super().__init__()
        self._snapshot: Snapshot | None = None
        self._end_s: float | None = None
        # the display draws itself from a thread of its own, so that time goes on while a student is trained
        self._live = Live(get_renderable=self._draw, console=screen(), refresh_per_second=2)
        self._live.start()

    def say(self, line: str) -> None:
        """Print a line above the display."""
        with contextlib.suppress(OSError):  # the terminal was closed
            self._live.console.print(Text(f"[{_clock(time.monotonic() - self._start_s)}] {line}", style="dim"))

    def show(self, snapshot: Snapshot, time_left_s: float | None) -> None:
        """Draw how the search stands."""
        super().show(snapshot, time_left_s)
        self._snapshot = snapshot
        self._end_s = None if time_left_s is None else time.monotonic() + time_left_s

    def close(self) -> None:
        """Take the live lines away."""
        self._snapshot = None
        with contextlib.suppress(OSError):
            self._live.stop()

    def _draw(self) -> RenderableType:
        snapshot = self._snapshot
        if snapshot is None:
            return Text("")
        count = Counter(str(t.state) for t in snapshot.trials)
        grid = Table.grid(padding=(0, 2))
        gated = f"{count['gated']} stopped at the gate, {snapshot.waiting} waiting at a rung, {count['failed']} failed"
        grid.add_row("trials", f"{count['finished']} finished, {gated}")
        grid.add_row("best", best_line(snapshot.trials, snapshot.limits))
        for doing in snapshot.running:
            grid.add_row("now", doing)
        if self._end_s is not None:
            grid.add_row("time left", _clock(max(0.0, self._end_s - time.monotonic())))
        return Group(Text(""), grid)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
