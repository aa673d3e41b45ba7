"""Tables of measured files in terminals of all widths: no figure is cut."""

from __future__ import annotations

import io
import random
from dataclasses import replace

import pytest
from rich.console import Console
from simulated_study import latency

from autocompress.cli import files_table
from autocompress.evaluators.shipping import MeasuredFile

LONG = "a/folder/of/some/depth/" * 6 + "model.onnx"


def printed(columns: int, monkeypatch: pytest.MonkeyPatch, *names: str) -> str:
    text = io.StringIO()
    console = Console(file=text, width=columns, highlight=False, markup=False, emoji=False)
    monkeypatch.setattr(files_table, "screen", lambda file_columns=None: console)
    slow = latency(1234.5, 2411.0, random.Random(0))
    slow = replace(
        slow, low_ms=1210.0, high_ms=1259.0, ratio=0.512, ratio_low=0.501, ratio_high=0.523, energy_mj=4321.0
    )
    files_table.print_files([MeasuredFile(name, slow, 12_345_678) for name in names], None, "")
    return text.getvalue()


@pytest.mark.parametrize("columns", [80, 100, 120, 160, 240])
def test_no_figure_is_cut(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    said = printed(columns, monkeypatch, "model.onnx", "another.onnx")
    assert "…" not in said and "e+" not in said
    figures = ("1234 ", "1210 to 1259", "0.512", "0.501 to 0.523", "faster")
    assert all(figure in said for figure in figures), "what files are compared by is always there"
    if columns in (80, 240):
        assert ("left out for want of columns" in said) == (columns == 80)


def test_a_long_name_costs_no_columns_where_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    said = printed(240, monkeypatch, LONG, "b/model.onnx")
    assert "left out" not in said and "12346" in said and "p99" in said
