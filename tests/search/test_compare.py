"""Fronts compared: laws of dominance and of volumes, and models that were measured elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from simulated_study import write_study

from autocompress.cli import main
from autocompress.errors import UsageError
from autocompress.search.report.html import browser
from autocompress.search.report.html.baseline import read_baselines
from autocompress.search.report.html.comparing import Contender, Point, compare
from autocompress.studies.metric import MetricLabel

points = st.builds(
    lambda quality, half, ms, wide: Point("p", quality / 8, half / 50, ms, ms / wide, ms * wide),
    st.integers(0, 8), st.integers(0, 4), st.integers(1, 8).map(float), st.floats(1.0, 1.5),
)  # fmt: skip
contenders = st.lists(points, min_size=1, max_size=6).map(lambda found: Contender("c", tuple(found), len(found)))


@given(points, points)
def test_who_dominates_beyond_noise_dominates_and_no_two_dominate_each_other(a: Point, b: Point) -> None:
    assert not a.surely_dominates(b) or a.dominates(b)
    assert not (a.dominates(b) and b.dominates(a))


@given(contenders, contenders)
def test_volumes_grow_with_dominance_and_stay_shares(a: Contender, b: Contender) -> None:
    found = compare([a, b], [])
    for volume in found.volumes:
        assert 0 <= volume.low <= volume.value <= volume.high <= 1 + 1e-9
    over, _under = found.dominance
    assert 0 <= over.surely <= over.dominated <= over.of == len(b.points)
    if over.dominated == over.of:
        assert found.volumes[0].value >= found.volumes[1].value - 1e-9


def test_a_better_search_is_said_to_be_better(tmp_path: Path) -> None:
    for name, better in (("a", 0.0), ("b", 0.03)):
        write_study(tmp_path / name, 40, better=better)
    out = tmp_path / "compare.html"
    done = CliRunner().invoke(main, ["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "b has the larger hypervolume" in done.output and "beyond noise" in done.output
    assert out.exists()


def test_studies_of_different_metrics_are_not_compared(tmp_path: Path) -> None:
    write_study(tmp_path / "a", 8)
    write_study(tmp_path / "b", 8, metric=MetricLabel("mAP"))
    done = CliRunner().invoke(main, ["compare", str(tmp_path / "a"), str(tmp_path / "b")])
    assert done.exit_code == 2 and "compare studies with one metric" in done.output
    done = CliRunner().invoke(main, ["compare", str(tmp_path / "a")])
    assert done.exit_code == 2 and "give two studies" in done.output


@pytest.mark.parametrize(
    "text, said",
    [
        ("name,metric\nx,1\n", "column 'latency_ms' is missing"),
        ("name,metric,latency_ms,colour\nx,1,1,red\n", "unknown column 'colour'"),
        ("name,metric,latency_ms\nx,0.9,fast\n", "line 2: latency_ms is 'fast'"),
        ("name,metric,latency_ms\nx,0.9,-1\n", "line 2: latency_ms is '-1'"),
        ("name,metric,latency_ms\nx,nan,1\n", "line 2: metric is 'nan'"),
        ("name,metric,latency_ms\n", "no models in it"),
        ("name,metric,latency_ms\nx,0,91,1\n", "line 2: 4 cells for 3 columns"),
        ("name,metric,latency_ms,metric\nx,0.9,1,0.8\n", "column 'metric' is there twice"),
    ],
)
def test_a_table_that_cannot_be_read_is_told_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "theirs.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match=said) as raised:
        read_baselines(path)
    assert "\n" not in str(raised.value)


def test_without_chromium_it_is_named_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser, "find_chromium", lambda: None)
    write_study(tmp_path / "a", 8)
    done = CliRunner().invoke(main, ["report", str(tmp_path / "a"), "--pdf", str(tmp_path / "a.pdf")])
    assert done.exit_code == 2 and "apt-get install chromium" in done.output
    assert (tmp_path / "a" / "report.html").exists()


def test_percentages_beside_shares_are_pointed_out(tmp_path: Path) -> None:
    write_study(tmp_path / "a", 8)
    for name, metric in (("percent", "91.2"), ("share", "0.912")):
        (tmp_path / f"{name}.csv").write_text(f"name,metric,latency_ms\nx,{metric},1\n")
    tables = [argument for name in ("percent", "share") for argument in ("--csv", str(tmp_path / f"{name}.csv"))]
    done = CliRunner().invoke(main, ["compare", str(tmp_path / "a"), *tables, "--out", str(tmp_path / "compare.html")])
    assert done.exit_code == 0, done.output
    assert "percent holds metrics above 1" in done.output and "share holds" not in done.output
