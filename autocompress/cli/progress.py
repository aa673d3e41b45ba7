"""How a running search is shown: live in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from ..search.loop import Snapshot
    from ..search.trial import Trial


class PlainProgress:
    """One line for each trial that ends."""

    def __init__(self, budgets: Mapping[str, float], percentile: int) -> None:
        """budgets: latency (ms) by target; percentile: of latency, held against them."""
        self._budgets, self._percentile = budgets, percentile
        self._shown: int | None = None
        self._start_s = time.monotonic()

    def say(self, line: str) -> None:
        print(f"[{_clock(time.monotonic() - self._start_s)}] {line}", flush=True)

    def show(self, snapshot: Snapshot, time_left_s: float | None) -> None:
        if self._shown is None:
            # trials of an earlier run are not told again
            self._shown = len(snapshot.trials) - snapshot.new
        for trial in snapshot.trials[self._shown :]:
            self.say(trial_line(trial))
        self._shown = len(snapshot.trials)

    def close(self) -> None:
        """Nothing is left on the screen to take away."""


class LiveProgress(PlainProgress):
    """A few lines in place: counts, the best model so far, what is running, time left; ended trials scroll above."""

    def __init__(self, budgets: Mapping[str, float], percentile: int) -> None:
        super().__init__(budgets, percentile)
        self._snapshot: Snapshot | None = None
        self._end_s: float | None = None
        # the display draws itself from a thread of its own, so that time goes on while a student is trained
        self._live = Live(get_renderable=self._draw, console=Console(), refresh_per_second=2)
        self._live.start()

    def say(self, line: str) -> None:
        self._live.console.print(Text(f"[{_clock(time.monotonic() - self._start_s)}] {line}", style="dim"))

    def show(self, snapshot: Snapshot, time_left_s: float | None) -> None:
        super().show(snapshot, time_left_s)
        self._snapshot = snapshot
        self._end_s = None if time_left_s is None else time.monotonic() + time_left_s

    def close(self) -> None:
        """Take the live lines away."""
        self._snapshot = None
        self._live.stop()

    def _draw(self) -> RenderableType:
        snapshot = self._snapshot
        if snapshot is None:
            return Text("")
        count = Counter(t.outcome for t in snapshot.trials)
        grid = Table.grid(padding=(0, 2))
        gated = f"{count['gated']} stopped at the gate, {snapshot.waiting} waiting at a rung, {count['failed']} failed"
        grid.add_row("trials", f"{count['finished']} finished, {gated}")
        grid.add_row("best", best_line(snapshot.trials, self._budgets, self._percentile))
        for doing in snapshot.running:
            grid.add_row("now", doing)
        if self._end_s is not None:
            grid.add_row("time left", _clock(max(0.0, self._end_s - time.monotonic())))
        return Group(Text(""), grid)


def trial_line(trial: Trial) -> str:
    """What became of a trial, in one line."""
    where = f" on {trial.plan.target}" if trial.plan.target else ""
    head = f"trial {trial.number} ({trial.origin}): {trial.outcome}"
    if trial.measurement is None:
        return f"{head}, {trial.reason}"
    m = trial.measurement
    remarks = [f"; {m.remark}" if m.remark else ""]
    remarks += [f"; {name}: {file.remark}" for name, file in m.elsewhere.items() if file.remark]
    others = "".join(f", {file.latency.p50_ms:.3f} ms on {name}" for name, file in m.elsewhere.items())
    return (
        f"{head}, accuracy {min(file.accuracy for file in m.files):.4f}, p50 {m.latency.p50_ms:.3f} ms "
        f"({m.latency.low_ms:.3f} to {m.latency.high_ms:.3f}){where}{others}, {m.size_bytes / 1000:.0f} kB"
        f"{''.join(remarks)}"
    )


def best_line(trials: Sequence[Trial], budgets: Mapping[str, float], percentile: int) -> str:
    """The most accurate finished trial under the budgets so far."""
    limits = sorted(set(budgets.values()))
    where = f" under {' and '.join(f'{limit:g} ms' for limit in limits)}" if limits else ""
    first = next(iter(budgets), "")
    best: tuple[float, Trial] | None = None
    for trial in trials:
        m = trial.measurement
        if m is None:
            continue
        found = {trial.plan.target or first: m, **m.elsewhere}
        if any(name in budgets and file.latency.at(percentile) > budgets[name] for name, file in found.items()):
            continue
        accuracy = min(file.accuracy for file in m.files)
        if best is None or accuracy > best[0]:
            best = accuracy, trial
    if best is None:
        return f"none{where} yet"
    accuracy, trial = best
    assert trial.measurement is not None
    home = f" on {trial.plan.target}" if trial.plan.target else ""
    return f"trial {trial.number}{where}: accuracy {accuracy:.4f}, p50 {trial.measurement.latency.p50_ms:.3f} ms{home}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
