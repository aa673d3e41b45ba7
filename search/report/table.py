"""The front as a table: rich for terminals, plain lines elsewhere."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...evaluators.measurement import ms_text
from ...files import read_object
from .confirm import candidates
from .entry import Entry
from .front import Front
from .intact import told
from .intervals import speed_up
from .picked import may_miss

if TYPE_CHECKING:
    from rich.table import Table


def heads(front: Front) -> tuple[str, ...]:
    """Return the columns: with several targets, one for each further latency, or which target a model is for."""
    others = () if front.any_of else tuple(f"{name} ms" for name in front.targets[1:])
    target = ("target",) if front.any_of else ()
    tail = () if front.limits.percentile == 50 else (f"p{front.limits.percentile} ms",)
    return (
        *("", "trial", "origin", *target, front.limits.metric.name, "test", "p50 ms", "95 % interval", *tail),
        *(*others, "speed-up", "kB", "zstd kB", "model"),
    )


def rows(front: Front) -> list[tuple[str, ...]]:
    """Return one row for each model of the front and each thing a user would do by hand, fastest first.

    The first column marks the front with `*`, models of it that cannot be told from the next faster one with `~`, and
    models that meet all limits with `<`. A figure that misses its limit is marked with `!`.
    """
    on_front = {e.number for e in front.best}
    fitting = {e.number for e in front.fitting}
    limits = front.limits
    found: list[tuple[str, ...]] = []
    for entry in candidates(front):
        latency = entry.reported_latency
        late = [name for name, part in limits.parts(entry.reported).items() if part > 1]
        meets = limits.any and entry.number in fitting and not late
        poor = limits.is_poor(entry.quality, front.least(entry))
        large = limits.max_mb is not None and entry.size_bytes > limits.max_mb * 1e6
        missed = _missed(entry.target in late)
        others = [] if front.any_of else [name for name in entry.latencies if name != entry.target]
        found.append(
            (
                _mark(front, entry.number, on_front) + ("<" if meets else " "),
                str(entry.number),
                entry.trial.label + (" (disturbed)" if entry.disturbed else ""),
                *((entry.target,) if front.any_of else ()),
                entry.metric_text + _missed(poor),
                entry.test_text or "-",
                ms_text(latency.p50_ms),
                latency.interval_text + (missed if limits.percentile == 50 else ""),
                *(() if limits.percentile == 50 else (f"{ms_text(latency.at(limits.percentile))}{missed}",)),
                *(f"{ms_text(entry.reported[name].p50_ms)}{_missed(name in late)}" for name in others),
                f"{speed_up(latency).value:.2f} x",
                f"{entry.size_bytes / 1000:.0f}{_missed(large)}",
                f"{entry.compressed_bytes / 1000:.0f}",
                _near(front, entry),
            )
        )
    return found


def rich_table(front: Front) -> Table:
    """Return the table with the front in bold, and what a user would do by hand dimmed where it is beaten.

    Paths would be broken in the middle: they stand below it, in `files_line`.
    """
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, title=title(front), title_justify="left", title_style="bold")
    for head in heads(front)[:-1]:
        right = head not in ("", "origin", "target", "95 % interval")
        table.add_column(head, justify="right" if right else "left", no_wrap=True)
    for row in rows(front):
        shown = row[0][0] in "*~"
        style = "bold green" if shown and "<" in row[0] else "bold" if shown else "dim"
        table.add_row(*row[:-1], style=style)
    return table


def files_line(front: Front) -> str:
    """Return where the files of the table's models lie, as a path that can be copied."""
    shown = candidates(front)
    if not shown:
        return ""
    best = (front.fitting or front.best or shown)[0]
    return f"file of trial {best.number}: {_near(front, best)} (of others: their number)"


def plain_lines(front: Front) -> list[str]:
    """Return the table as aligned text."""
    lines = [heads(front), *rows(front)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    body = ["  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines]
    return [title(front), *body]


def title(front: Front) -> str:
    """Return the study and the budget in one line."""
    asked = "".join(f", {words}" for words in front.limits.in_words())
    best, trials = len(front.best), len(front.trials)
    models = f"{best} model{'' if best == 1 else 's'} on the front of {trials} trial{'' if trials == 1 else 's'}"
    return f"{front.folder.name}: {models}{asked}"


def legend(front: Front) -> str:
    """Return what the marks mean."""
    limits, metric = front.limits, front.limits.metric
    several = len(front.targets) > 1 and not front.any_of
    words = ["* on the front"]
    if front.indistinct:
        words.append("~ on the front too, but not to be told from the next faster one: intervals overlap")
    if limits.any:
        words.append("< meets every limit, ! misses one")
    if limits.budgets:
        tail = "of the interval" if limits.percentile == 50 else f"of p{limits.percentile}'s interval, which is shown"
        if limits.budgets.keys() <= limits.relative.keys():
            of_tail = f"the ratio of its p{limits.percentile} to the teacher's median"
            ratio = "its ratio to the teacher's" if limits.percentile == 50 else of_tail
            tail = f"of {ratio}, which is surer than its milliseconds"
        words.append(f"a latency counts by the upper end {tail}")
    batches = {e.latency.conditions.get("batch", 1) for e in front.entries}
    if batches - {1}:
        shown = " or ".join(str(batch) for batch in sorted(batches))
        words.append(f"ms: of one inference of a batch of {shown}, not of one input")
    words.append(f"{metric.name}: validation split" + ("" if metric.maximized else ", lower is better"))
    if several:
        words.append(f"the {'lowest' if metric.maximized else 'highest'} of a model's files; p50 on {front.targets[0]}")
    if any(entry.trial.origin.by_hand for entry in candidates(front)):
        words.append("teacher, uniform and prune are what one would do by hand")
    if limits.sure_accuracy is not None and any(front.least(e) < e.quality for e in front.entries):
        words.append(
            f"the limit on {metric.name} counts by the {'lower' if metric.maximized else 'upper'} end of its interval"
        )
    if any(entry.disturbed for entry in candidates(front)):
        words.append("(disturbed): other work ran while it was measured")
    return "; ".join(words)


def measured_to_pay(front: Front) -> list[str]:
    """Return what was measured to pay on the targets, and what was left alone because it does not, with the ratios."""
    described = read_object(front.folder / "space.json") or {}
    profile = described.get("profile") or {"bits": [], "steps": {}}
    lines = []
    for entry in profile["bits"]:
        words = f"{entry['bits']} bits for {entry['kind']} layers take {_ratio(entry)} of the time of 32"
        lines.append((entry["target"], words + ("" if entry["offered"] else ": left alone")))
    paying = {o for v in described.get("variables", []) if v["axis"] == "pattern" for o in v["options"]}
    for target, patterns in described.get("patterns", {}).items():
        for kind, entry in patterns.items():
            offered = any(str(option).startswith(kind) for option in paying)
            words = f"{kind} zeros take {_ratio(entry)} of the time of none"
            lines.append((target, words + ("" if offered else ": left alone for speed")))
    found = [f"measured on {target}: {words}" for target, words in lines]
    if profile["steps"]:
        found.append(f"channels in steps of: {', '.join(f'{kind} {step}' for kind, step in profile['steps'].items())}")
    return found


def verdict(front: Front) -> str:
    """Return the best model under the budget in one line, or why there is none."""
    if not front.fitting:
        return front.explain(front.limits)
    best = front.fitting[0]
    times = f", {speed_up(best.reported_latency).value:.2f} times as fast as the teacher"
    times += f" on {best.target}" if len(front.targets) > 1 else ""
    others = {name: latency for name, latency in best.reported.items() if name != best.target}
    times += "".join(f", {ms_text(other.p50_ms)} ms on {name}" for name, other in others.items())
    where = f" on {best.target}" if front.any_of else ""
    p50_ms = best.reported_latency.p50_ms
    hand = f" ({best.trial.label}, as one would do by hand: the search found none better)"
    return (
        f"best{' under the budget' if front.limits.budgets else ''}: trial {best.number}"
        f"{hand if best.trial.origin.by_hand else ''}, "
        f"{best.metric.name} {best.metric_text}{_ends(front, best)}, p50 {ms_text(p50_ms)} ms{where}"
        f"{times}{_anew(front, best)}: {_near(front, best)}"
    )


def _ends(front: Front, entry: Entry) -> str:
    """Return the interval of a metric, in brackets."""
    ends, text = front.metric_interval(entry).ends, front.limits.metric
    if ends is None:
        return ""
    low, high = (text.text(text.kept(end)) for end in ends)
    return f" ({low} to {high})"


def _anew(front: Front, entry: Entry) -> str:
    """Say where the latency of a model that was chosen comes from, and whether it still meets its budget."""
    if not entry.confirmed or not entry.confirmed.anew:
        return ""
    return f", measured anew after the choice{may_miss(entry, front.limits)}"


def remarks(front: Front) -> list[str]:
    """Return which trials are left out because their files are not those that were measured, a line each."""
    return [f"left out: {line}" for line in told(front.changed)]


def _mark(front: Front, number: int, on_front: set[int]) -> str:
    if number not in on_front:
        return " "
    return "~" if number in front.indistinct else "*"


def _missed(is_missed: bool) -> str:
    return " !" if is_missed else ""


def _ratio(entry: dict[str, Any]) -> str:
    return f"{entry['ratio']:.2f} ({entry['low']:.2f} to {entry['high']:.2f})"


def _near(front: Front, entry: Entry) -> str:
    path = front.paths(entry)[entry.target]
    relative = os.path.relpath(path)
    return relative if not relative.startswith("..") else str(Path(path))
