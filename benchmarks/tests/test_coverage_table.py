"""The simulation of intervals runs the whole path, and tells a sound meter from one that claims too much."""

from __future__ import annotations

import pytest

from benchmarks.interval_coverage import World, one_study


@pytest.mark.parametrize("world", [World(0.02), World(0.02, 0.02, middle=4.0, threads=2)])
def test_a_simulated_study_tells_of_every_figure(world: World) -> None:
    studies = [one_study(world, seed) for seed in range(3)]
    figures = {"ratio at the gate", "ratio confirmed", "ms at the gate", "ms confirmed", "p99 confirmed"}
    assert all(set(study) == figures for study in studies)
    assert sum(held for study in studies for held, _ in study.values()) >= 12, "of 15, 0.95 each"
    assert all(0 < width < 40 for study in studies for _, width in study.values())
