"""The sentence that says which of some files to ship."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from autocompress.evaluators.measurement import Latency
from autocompress.evaluators.shipping import MeasuredFile, which_to_ship
from autocompress.studies.metric import MetricLabel

FIRST_MS = 10.0


def measured(name: str, p50_ms: float, quality: float | None = None, half: float = 0.02) -> MeasuredFile:
    ratio = p50_ms / FIRST_MS
    low, high = p50_ms * (1 - half), p50_ms * (1 + half)
    tails = {"p90_ms": high, "p95_ms": high, "p99_ms": high, "mean_ms": p50_ms}
    ratios = {"ratio": ratio, "ratio_low": ratio * (1 - half), "ratio_high": ratio * (1 + half)}
    run = {"samples": 100, "warmup": 3, "processes": 3, "disturbed": False, "load_ms": 1.0, "peak_memory_mb": None}
    latency = Latency(p50_ms=p50_ms, low_ms=low, high_ms=high, **tails, **ratios, **run)  # type: ignore[arg-type]
    return MeasuredFile(name, latency, 1000, quality)


def test_the_fastest_of_those_as_good_as_the_best_is_shipped() -> None:
    files = [measured("teacher", 10, 0.95), measured("a", 4, 0.948), measured("b", 2, 0.80)]
    assert "ship a (accuracy 0.9480): 2.50 times (2.45 to 2.55) as fast as teacher" in which_to_ship(
        files, examples=500
    )
    assert "ship b" in which_to_ship(files, examples=500, least=0.75), "what was asked for is good enough"
    assert "ship b" in which_to_ship([measured(f.name, 10 / i, None) for i, f in enumerate(files, 1)])


def test_the_first_is_shipped_where_nothing_is_faster_and_as_good() -> None:
    said = which_to_ship([measured("teacher", 10, 0.95), measured("a", 4, 0.5)], examples=500)
    assert said.startswith("ship teacher (accuracy 0.9500): none of the others is faster and as good")


def test_what_cannot_be_told_apart_is_named_and_what_was_not_run_is_not() -> None:
    files = [measured("teacher", 10), measured("a", 4.0), measured("b", 4.1), MeasuredFile("elsewhere", None, 10)]
    said = which_to_ship(files)
    assert "ship a" in said and "by latency: b" in said and "elsewhere" not in said
    assert which_to_ship(files[:1]) == ""


def test_milliseconds_that_drift_together_hide_no_difference_of_ratios() -> None:
    """4.0 and 4.6 ms, each known to 20 % for the machine's moods, and their ratios to 1 %."""
    files = [measured("teacher", 10), measured("a", 4.0, half=0.01), measured("b", 4.6, half=0.01)]
    moody = [replace(f, latency=replace(f.latency, low_ms=0.8 * ms, high_ms=1.2 * ms)) for f, ms in _timed(files)]
    assert "ship a" in which_to_ship(moody) and "not to be told apart" not in which_to_ship(moody)


def _timed(files: list[MeasuredFile]) -> list[tuple[Any, float]]:
    return [(f, f.latency.p50_ms) for f in files if f.latency is not None]


def test_a_metric_that_is_minimized() -> None:
    label = MetricLabel("RMSE", "minimize")
    files = [measured("teacher", 10, -53.0), measured("a", 4, -52.0), measured("b", 2, -80.0)]
    assert "ship a (RMSE 52.00)" in which_to_ship(files, label)


def test_a_metric_that_is_no_share_has_no_noise_of_one() -> None:
    """R2 of 0.95 on 100 examples is no 95 right answers of 100."""
    files = [measured("teacher", 10, 0.95), measured("a", 4, 0.94)]
    assert "ship a" in which_to_ship(files, examples=100)
    assert "ship teacher" in which_to_ship(files, MetricLabel("r2", "maximize"), examples=100)


def test_resampling_tells_the_noise_of_a_share_of_positions() -> None:
    """Of 100 texts of 50 words each, 95 % of the words are right: that is surer than 95 of 100."""
    files = [measured("teacher", 10, 0.95), measured("a", 4, 0.93)]
    assert "ship a" in which_to_ship(files, examples=100)
    sure = [replace(file, quality_sd=0.003) for file in files]
    assert "ship teacher" in which_to_ship(sure) and "ship teacher" in which_to_ship(sure, examples=100)
    assert "ship a" in which_to_ship([replace(file, quality_sd=0.03) for file in files])


@given(st.lists(st.tuples(st.floats(0.1, 100), st.floats(0.5, 1)), min_size=2, max_size=6), st.integers(20, 10_000))
def test_no_file_as_good_as_the_best_is_faster_than_the_one_to_ship(
    values: list[tuple[float, float]], examples: int
) -> None:
    files = [measured(f"<{i}>", p50, quality) for i, (p50, quality) in enumerate(values)]
    chosen = next(f for f in files if which_to_ship(files, examples=examples).startswith(f"ship {f.name}"))
    best = max(values, key=lambda value: value[1])
    assert chosen.latency is not None and chosen.latency.p50_ms <= best[0]
