"""The plot of a front in a terminal."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from autocompress.search.report.front import Front
from autocompress.search.report.terminal_plot import (
    FRONT,
    HAND,
    LEAST_WIDTH,
    TEACHER,
    close_together,
    points_of,
    terminal_plot,
)
from autocompress.search.report.ticks import tick_labels, ticks

Cli = Callable[..., tuple[int, str, str]]


def seen_in_a_terminal(columns: int, *arguments: str) -> str:
    """What a command shows in a terminal of so many columns, without colours."""
    pty, fcntl, struct, termios = map(pytest.importorskip, ("pty", "fcntl", "struct", "termios"))
    child, terminal = pty.fork()
    if child == 0:
        # a size that readline put beside os.environ would come before the terminal's
        environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
        environment |= {"TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"}
        os.execve(sys.executable, [sys.executable, "-m", "autocompress", *arguments], environment)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    said = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # how Linux says that the other end was closed
            break
        if not part:
            break
        said += part
    assert os.waitpid(child, 0)[1] == 0, said.decode()
    return re.sub(r"\x1b\[[0-9;]*m", "", said.decode()).replace("\r", "")


def test_it_shows_the_front_the_teacher_and_what_is_made_by_hand(finished: Front) -> None:
    plot = terminal_plot(finished, 80, 18)
    assert plot is not None
    lines = plot.plain.splitlines()
    assert max(map(len, lines)) <= 80 and "accuracy" in lines[0] and "p50" in lines[0]
    canvas = "\n".join(lines[1:17])
    marks = {point.mark for point in points_of(finished)}
    assert TEACHER in marks and HAND in marks
    assert all(mark in canvas for mark in marks & {TEACHER, FRONT})
    assert "budget 50 ms" in plot.plain


def test_too_narrow_a_terminal_has_none(finished: Front) -> None:
    assert terminal_plot(finished, LEAST_WIDTH, 18) is not None
    assert terminal_plot(finished, LEAST_WIDTH - 1, 18) is None


def test_the_front_is_never_left_out(finished: Front) -> None:
    points = points_of(finished)
    kept = close_together(points)
    assert {p.entry.number for p in points if p.on_front} <= {p.entry.number for p in kept}


@pytest.mark.parametrize(("columns", "drawn"), [(50, False), (80, True), (120, True), (200, True)])
def test_it_stands_beside_or_below_the_table(
    finished: Front, columns: int, drawn: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = seen_in_a_terminal(columns, "front", str(finished.folder))
    assert ("over p50 latency" in said) == drawn
    if columns >= 80:
        assert "…" not in said, "no figure of the table is cut"
    title = next(line for line in said.splitlines() if line.startswith("tiny"))
    assert ("over p50 latency" in title) == (columns == 200)


def test_a_file_and_no_plot_get_text_alone(finished: Front, cli: Cli, tmp_path: Path) -> None:
    assert "over p50 latency" not in cli("front", finished.folder)[1]
    assert "over p50 latency" not in seen_in_a_terminal(120, "front", str(finished.folder), "--no-plot")


@given(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6), st.booleans())
@example(1.0000000000000002e-06, 1e-06, False)
@example(1.00001, 1.0, False)
def test_ticks_are_within_and_differ(one: float, other: float, logarithmic: bool) -> None:
    low, high = sorted((one, other))
    found = ticks(low, high, logarithmic=logarithmic)
    assert 1 <= len(found) <= 8
    edge = 1e-6 * max(high - low, high)
    assert all(low - edge <= value <= high + edge for value in found)
    assert found == sorted(set(found)) and len(tick_labels(found)) == len(found)
