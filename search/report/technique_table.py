"""The table of techniques on a screen or in a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from ...evaluators.measurement import ms_text
from ...studies.metric import MetricLabel
from .intervals import Interval
from .techniques import SEARCH, Row, TechniqueTable

if TYPE_CHECKING:
    from rich.table import Table

Cell = tuple[str, str]
"""A figure, and what stands below or behind it."""
NOTHING: Cell = ("-", "")
BELOW = "\n"
"""Between two figures that stand below each other, or in one line behind each other."""
HEADS = ("technique", "trial", "METRIC", "test", "p50 ms", "speed-up", "kB", "training", "tried", "search, no slower")


def heads(table: TechniqueTable) -> tuple[str, ...]:
    """Return the columns."""
    return tuple(table.metric.name if head == "METRIC" else head for head in HEADS)


def cells(row: Row, metric: MetricLabel) -> tuple[Cell, ...]:
    """Return what stands in a row."""
    if row.entry is None or row.metric is None or row.p50_ms is None or row.speed_up is None:
        return ((row.name, ""), *(NOTHING,) * (len(HEADS) - 1))
    return (
        (row.name, row.entry.trial.label if row.entry.trial.label != row.name else ""),
        (str(row.entry.number), ""),
        _of_metric(row.metric, metric),
        NOTHING if row.test is None else _of_metric(row.test, metric),
        _figure(row.p50_ms, ms_text),
        _figure(row.speed_up, "{:.2f}".format, " x"),
        (f"{(row.size_bytes or 0) / 1000:.0f}", ""),
        _training(row),
        (f"{row.tried} in {_seconds(row.spent_s)}", ""),
        _against(row, metric),
    )


def shown(table: TechniqueTable) -> list[Row]:
    """Return the rows that have figures, and those that could have; what is not offered is told by `remarks`."""
    return [row for row in table.rows if not _is_left_out(row)]


def plain_lines(table: TechniqueTable, title: str) -> list[str]:
    """Return the table as aligned text, with what is missing below it."""
    lines = [heads(table)]
    for row in shown(table):
        made = cells(row, table.metric)
        name = row.name  # its trial says which setting it is
        lines.append(
            (name, *(f"{first} ({second.replace(BELOW, ', ')})" if second else first for first, second in made[1:]))
        )
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADS))]
    body = ["  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines]
    return [title, *body, *remarks(table)]


def rich_table(table: TechniqueTable, title: str) -> Table:
    """Return the table with intervals below their figures, the search in bold."""
    from rich import box
    from rich.table import Table

    found = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", padding=(0, 1, 0, 0))
    for head in heads(table):
        found.add_column(head, justify="left", no_wrap=head != "technique")
    for row in shown(table):
        style = "bold" if row.name == SEARCH else "dim" if row.entry is None else ""
        made = cells(row, table.metric)
        found.add_row(*("\n".join(part for part in cell if part) for cell in made), style=style)
    return found


def remarks(table: TechniqueTable) -> Iterator[str]:
    """Yield what is to be said below the table."""
    metric = table.metric
    better = "" if metric.maximized else "; lower is better"
    yield (
        f"intervals: 95 %; {metric.name}: validation split{better}; training: that of the model itself and of the one "
        "whose weights it began with, and the memory of a step (weights, gradients, optimizer, activations); tried: "
        "models and seconds that the technique had in all"
    )
    yield (
        f"search, no slower: the search's best model by {metric.name} whose ratio to the teacher's latency is "
        "within the row's interval or below, and how far it is above the row on the test split (on validation where "
        "marked v)"
    )
    if any(row.metric is not None and row.metric.low is None for row in table.rows):
        yield f"{metric.name} has no interval: it is no share of right answers, and was not resampled"
    left_out: dict[str, list[str]] = {}
    for row in table.rows:
        if row.note:
            left_out.setdefault(row.note, []).append(row.name)
    for note, names in left_out.items():
        yield f"{', '.join(names)}: {note}"
    if table.missing:
        yield f"not tried yet: {', '.join(table.missing)}; to try them: {table.command}"


def _is_left_out(row: Row) -> bool:
    return row.entry is None and bool(row.note) and row.name != SEARCH


def _of_metric(value: Interval, metric: MetricLabel) -> Cell:
    def text(number: float) -> str:
        return metric.text(metric.kept(number))

    if value.low is None or value.high is None:
        return text(value.value), ""
    return text(value.value), f"{text(value.low)} to {text(value.high)}"


def _figure(value: Interval, text: Callable[[float], str], unit: str = "") -> Cell:
    first = text(value.value) + unit
    if value.low is None or value.high is None:
        return first, ""
    return first, f"{text(value.low)} to {text(value.high)}"


def _training(row: Row) -> Cell:
    if not row.training.times:
        return "none", ""
    times = "" if row.training.times == 1 else f" in {row.training.times}"
    epochs = f"{row.epochs:.3g} epochs{times}" if row.epochs is not None else f"{row.training.times} trainings"
    held = row.training.step_bytes
    memory = "" if held is None else f"{BELOW}{held / 1e6:.3g} MB"
    return epochs, _seconds(row.training.seconds) + memory


def _against(row: Row, metric: MetricLabel) -> Cell:
    found = row.against
    if found is None:
        return NOTHING
    apart = found.difference
    shown = _of_metric(found.metric, metric)[0]
    # a small metric has more digits behind the point, and so have its differences
    digits = max(len(shown.partition(".")[2]), 4 if abs(apart.value) < 10 else 2)
    figures = [apart.value] if apart.low is None or apart.high is None else [apart.low, apart.high]
    ends = " to ".join(f"{number:+.{digits}f}" for number in figures)
    mark = "" if found.split == "test" else " v"
    first = f"{shown}{mark}, trial {found.entry.number}"
    return first, f"{apart.value:+.{digits}f}{BELOW}{ends}" if len(figures) > 1 else ends


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"


def as_plain(table: TechniqueTable) -> Sequence[dict[str, object]]:
    """Return the rows as plain JSON types, for reports and other programs."""
    from ...spaces.plain import to_plain

    found = []
    for row in table.rows:
        plain: dict[str, object] = {
            "technique": row.name,
            "meaning": row.meaning,
            "trial": None if row.entry is None else row.entry.number,
            "size_bytes": row.size_bytes,
            "training_s": row.training.seconds,
            "trainings": row.training.times,
            "training_step_bytes": row.training.step_bytes,
            "epochs": row.epochs,
            "tried": row.tried,
            "spent_s": row.spent_s,
            "note": row.note,
            "missing": row.name in table.missing,
        }
        figures = {"metric": row.metric, "test": row.test, "p50_ms": row.p50_ms, "speed_up": row.speed_up}
        plain |= {name: None if value is None else to_plain(value) for name, value in figures.items()}
        against = row.against
        plain["search"] = against and {
            "trial": against.entry.number,
            "split": against.split,
            "metric": to_plain(against.metric),
            "difference": to_plain(against.difference),
        }
        found.append(plain)
    return found
