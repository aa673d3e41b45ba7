"""The front as a table: rich for terminals, plain lines elsewhere."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..prepare.probe import GAIN
from ..store.files import read_json
from .confirm import candidates
from .front import Entry, Front
from .space_report import patterns_probed

if TYPE_CHECKING:
    from rich.table import Table


def heads(front: Front) -> tuple[str, ...]:
    """The columns: with several targets, one for each further latency, or which target a model is for."""
    others = () if front.any_of else tuple(f"{name} ms" for name in front.targets[1:])
    home = ("target",) if front.any_of else ()
    return (
        *("", "trial", "origin", *home, "accuracy", "test", "p50 ms", "95 % interval"),
        *(*others, "speed-up", "kB", "zstd kB", "model"),
    )


def rows(front: Front) -> list[tuple[str, ...]]:
    """One row for each model of the front and each thing a user would do by hand, fastest first.

    The first column marks the front with `*`, and a budget that is met with `<`.
    """
    on_front = {e.trial.number for e in front.best}
    fitting = {e.trial.number for e in front.fitting}
    found: list[tuple[str, ...]] = []
    for entry in candidates(front):
        measurement, latency = entry.trial.measurement, entry.latency
        assert measurement is not None
        number = entry.trial.number
        mark = ("*" if number in on_front else " ") + ("<" if front.limits_latency and number in fitting else " ")
        speed_up = front.speed_up(entry)
        found.append(
            (
                mark,
                str(number),
                entry.trial.origin + (" (disturbed)" if entry.disturbed else ""),
                *((front.home(entry),) if front.any_of else ()),
                f"{entry.accuracy:.4f}",
                f"{entry.confirmed.test_accuracy:.4f}" if entry.confirmed else "-",
                f"{latency.p50_ms:.3f}",
                f"{latency.low_ms:.3f} to {latency.high_ms:.3f}",
                *(f"{other.p50_ms:.3f}" for other in entry.elsewhere.values()),
                f"{speed_up:.2f} x" if speed_up else "-",
                f"{measurement.size_bytes / 1000:.0f}",
                f"{measurement.compressed_bytes / 1000:.0f}",
                _near(front, entry),
            )
        )
    return found


def rich_table(front: Front) -> Table:
    """The table with the front in bold and what a user would do by hand dimmed where it is beaten."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, title=title(front), title_justify="left", title_style="bold")
    for head in heads(front):
        right = head not in ("", "origin", "target", "model", "95 % interval")
        table.add_column(head, justify="right" if right else "left", overflow="fold", no_wrap=head != "model")
    for row in rows(front):
        style = "bold green" if "*" in row[0] and "<" in row[0] else "bold" if "*" in row[0] else "dim"
        table.add_row(*row, style=style)
    return table


def plain_lines(front: Front) -> list[str]:
    """The table as aligned text."""
    lines = [heads(front), *rows(front)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    body = ["  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines]
    return [title(front), *body]


def title(front: Front) -> str:
    """The study and the budget in one line."""
    budget = f", p{front.percentile} budget {front.budget_ms:g} ms" if front.budget_ms else ""
    budget += "".join(f", {limit:g} ms on {name}" for name, limit in front.budgets.items())
    return f"{front.folder.name}: {len(front.best)} models on the front of {len(front.trials)} trials{budget}"


def legend(front: Front) -> str:
    """What the marks mean."""
    budget = ", < under the budget with the upper end of its interval" if front.limits_latency else ""
    several = len(front.targets) > 1 and not front.any_of
    lowest = ", the lowest of a model's files" if several else ""
    where = f"; p50 on {front.targets[0]}" if several else ""
    return f"* on the front{budget}; accuracy: validation split{lowest}{where}; all others: what one would do by hand"


def probed(front: Front) -> list[str]:
    """What was measured to pay on the targets, and what was left alone because it does not, with the ratios."""
    described = read_json(front.folder / "space.json") or {}
    knobs = described.get("knobs") or {"bits": [], "steps": {}}
    lines = []
    for entry in knobs["bits"]:
        words = f"{entry['bits']} bits for {entry['kind']} layers take {_ratio(entry)} of the time of 32"
        lines.append((entry["target"], words + (": left alone" if entry["frozen"] else "")))
    for target, patterns in patterns_probed(described).items():
        for kind, entry in patterns.items():
            words = f"{kind} zeros take {_ratio(entry | {'ratio': entry['ratio_to_dense']})} of the time of none"
            lines.append((target, words + ("" if entry["high"] < GAIN else ": left alone for speed")))
    found = [f"probed on {target}: {words}" for target, words in lines]
    if knobs["steps"]:
        found.append(f"channels in steps of: {', '.join(f'{kind} {step}' for kind, step in knobs['steps'].items())}")
    return found


def _ratio(entry: dict[str, Any]) -> str:
    value = entry["ratio"]
    return f"{value:.2f} ({entry['low']:.2f} to {entry['high']:.2f})"


def verdict(front: Front) -> str:
    """The best model under the budget in one line, or why there is none."""
    if not front.entries:
        return "no model was finished: give the search more time"
    found = front.fitting
    if not found:
        return front.explain(front.budget_ms, front.min_accuracy, front.max_mb)
    best = found[0]
    speed_up = front.speed_up(best)
    times = f", {speed_up:.2f} times as fast as the teacher" if speed_up else ""
    times += f" on {front.targets[0]}" if len(front.targets) > 1 else ""
    times += "".join(f", {other.p50_ms:.3f} ms on {name}" for name, other in best.elsewhere.items())
    where = f" on {front.home(best)}" if front.any_of else ""
    return (
        f"best{' under the budget' if front.limits_latency else ''}: trial {best.trial.number}, accuracy "
        f"{best.accuracy:.4f}, p50 {best.latency.p50_ms:.3f} ms{where}{times}: {_near(front, best)}"
    )


def _near(front: Front, entry: Entry) -> str:
    path = front.path(entry)
    relative = os.path.relpath(path)
    return relative if not relative.startswith("..") else str(Path(path))
