"""The table of techniques: over a real study, and recomputed from what lies in its folder."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import autocompress
from autocompress.search.report.front import Front
from autocompress.search.report.intervals import MetricIntervals
from autocompress.search.report.reading import read_front
from autocompress.search.report.techniques import SEARCH, TechniqueTable, techniques
from autocompress.search.technique_kinds.distillation import DISTILLATION
from autocompress.search.technique_kinds.pruning import GLOBAL, PRUNING
from autocompress.search.technique_kinds.quantization import INT8_AFTER, SIXTEEN_BITS, TEACHER
from autocompress.search.technique_kinds.registry import BY_NAME
from autocompress.search.technique_kinds.sequences import QUANTIZE_PRUNE
from autocompress.search.technique_kinds.sparsity import UNSTRUCTURED
from autocompress.search.trial import Origin, Trial, TrialState
from autocompress.spaces.plan import Plan
from autocompress.spaces.spec import StudentSpec
from autocompress.studies.metric import MetricLabel
from autocompress.studies.task import load_task

pytestmark = pytest.mark.usefixtures("briefly")

Cli = Callable[..., tuple[int, str, str]]


def rows_in_the_database(folder: Path) -> dict[int, dict[str, Any]]:
    """The trials of a study as an outsider reads them: JSON in SQLite, by number."""
    with sqlite3.connect(folder / "study.db") as connection:
        values = connection.execute("select value_json from trial_user_attributes where key = 'trial'").fetchall()
    trials = [json.loads(json.loads(value)) for (value,) in values]
    return {trial["number"]: trial for trial in trials}


def wilson(share: float, n: int) -> tuple[float, float]:
    z = 1.959964
    ends = [
        (share + z * z / (2 * n) + sign * z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)))
        / (1 + z * z / n)
        for sign in (-1, 1)
    ]
    return ends[0], ends[1]


def assert_recomputed(folder: Path, table: TechniqueTable) -> None:
    """Every figure of the table follows from the folder's JSON."""
    trials = rows_in_the_database(folder)
    looks = json.loads((folder / "confirmed.json").read_text())
    examples = json.loads((folder / "identity.json").read_text())["validation"]
    n = int(examples.split()[0])
    epochs = json.loads((folder / "task.json").read_text())["epochs"]
    for row in table.rows:
        if row.entry is None:
            continue
        trial = trials[row.entry.number]
        (target, file) = next(iter(trial["measured"].items()))
        look = looks.get(str(trial["number"]))
        seen = {} if look is None else look["files"][target]
        latency = seen.get("anew") or seen.get("latency") or file["latency"]
        assert row.metric and row.p50_ms and row.speed_up
        assert row.metric.value == file["accuracy"] and row.size_bytes == file["size_bytes"]
        assert (row.metric.low, row.metric.high) == pytest.approx(wilson(file["accuracy"], n))
        teacher_ms = json.loads((folder / "targets" / target / "calibration.json").read_text())["p50_ms"]
        assert row.p50_ms.value == pytest.approx(latency["ratio"] * teacher_ms)
        assert row.p50_ms.low is not None and row.p50_ms.low < row.p50_ms.value
        assert row.speed_up.value == pytest.approx(1 / latency["ratio"])
        assert row.speed_up.low == pytest.approx(1 / latency["ratio_high"])
        times, number, seconds = 0, trial["number"], 0.0
        while number is not None and trials[number]["spec"]["recovery"] is not None:
            times += 1
            seconds += trials[number]["seconds"].get("training", 0.0)
            start = trials[number]["warm_start"]
            number = None if start is None else start["number"]
        assert row.training.times == times and row.epochs == pytest.approx(times * epochs)
        assert row.training.seconds >= seconds, "what other trials trained for it counts too"
        if row.against is not None:
            other = trials[row.against.entry.number]
            assert other["origin"] not in ("teacher", "by hand")
            assert 1 / row.against.entry.reported_latency.ratio >= row.speed_up.low


def test_a_usual_study_has_some_rows_and_names_the_others(finished: Front) -> None:
    table = techniques(read_front(finished.folder))
    assert_recomputed(finished.folder, table)
    found = {row.name: row for row in table.rows}
    assert [row.name for row in table.rows] == [*BY_NAME, SEARCH]
    for technique in (TEACHER.name, INT8_AFTER.name):
        assert found[technique].entry is not None
    assert found[TEACHER.name].training.times == 0
    assert {PRUNING.name, DISTILLATION.name, QUANTIZE_PRUNE.name} <= set(table.missing)
    assert 'search={"baselines": ("all",)}' in table.command, "a study made in Python goes on in Python"
    assert "16 bits" in found[SIXTEEN_BITS.name].note, "what cannot be here is not asked for"
    assert SIXTEEN_BITS.name not in table.missing
    assert "zeros have no faster kernel" in found[UNSTRUCTURED.name].note


def test_a_technique_that_failed_says_so_and_its_seconds_count(finished: Front) -> None:
    front = read_front(finished.folder)
    before = {row.name: row for row in techniques(front).rows}
    failed = [
        Trial(900 + i, Plan(), StudentSpec(), Origin.BY_HAND, kind.name, technique=kind.name, state=TrialState.FAILED)
        for i, kind in enumerate((PRUNING, INT8_AFTER))
    ]
    failed = [replace(trial, reason="the loss is no number", seconds={"training": 5.0}) for trial in failed]
    table = techniques(replace(front, trials=(*front.trials, *failed)))
    after = {row.name: row for row in table.rows}
    assert PRUNING.name not in table.missing
    assert after[PRUNING.name].note == "trial 900 failed: the loss is no number"
    name = INT8_AFTER.name
    assert after[name].spent_s == pytest.approx(before[name].spent_s + 5.0) and after[name].entry is not None


def test_the_command_prints_it(finished: Front, cli: Cli) -> None:
    code, said, _ = cli("front", finished.folder, "--techniques")
    assert code == 0
    for name in BY_NAME:
        assert name in said
    assert "not tried yet" in said and "95 %" in said
    code, said, _ = cli("front", finished.folder, "--techniques", "--json")
    rows = json.loads(said)
    assert [row["technique"] for row in rows] == [*BY_NAME, SEARCH]
    assert rows[0]["metric"]["low"] < rows[0]["metric"]["value"] < rows[0]["metric"]["high"]


@given(st.integers(1, 20_000), st.floats(0, 1), st.floats(0, 1))
def test_intervals_hold_what_they_are_about(n: int, a: float, b: float) -> None:
    intervals = MetricIntervals(MetricLabel(), {"test": n})
    around, apart = intervals.around(a, "test"), intervals.difference(a, b, "test")
    assert around.low is not None and around.high is not None and apart.low is not None and apart.high is not None
    assert 0 <= around.low <= a + 1e-12 and a - 1e-12 <= around.high <= 1
    assert apart.low <= a - b <= apart.high
    assert intervals.around(a, "validation").low is None, "nothing is known of a split without its size"
    assert intervals.difference(a, a, "test").low == pytest.approx(-(intervals.difference(a, a, "test").high or 0))


@pytest.mark.slow
def test_what_is_missing_is_tried_when_asked_and_only_once(
    tiny_task: Path, sections: dict[str, dict[str, Any]], tmp_path: Path, cli: Cli
) -> None:
    """A study is begun, stopped in the middle of its baselines, and goes on until none is missing."""
    search: dict[str, Any] = {"without": ("latency_model", "sensitivity", "initial_design"), "baselines": ("all",)}
    task = load_task(str(tiny_task))

    def more(trials: int) -> Front:
        return autocompress.compress(task, trials=trials, runs=tmp_path, search=search, **sections)

    first = more(4)
    assert techniques(first).missing
    before = rows_in_the_database(first.folder)
    table = techniques(more(10))
    assert table.missing == () and table.command == ""
    after = rows_in_the_database(first.folder)
    assert {number: after[number] for number in before} == before, "nothing is run again"
    asked = [(t["technique"], t["after"], json.dumps(t["plan"])) for t in after.values() if t["technique"]]
    assert len(asked) == len(set(asked))
    assert all(trial["state"] == "finished" for trial in after.values() if trial["technique"]), "and all of it worked"
    assert_recomputed(first.folder, table)
    times = {row.name: row.training.times for row in table.rows}
    assert times[QUANTIZE_PRUNE.name] == 2 and times[GLOBAL.name] == 1
    fresh = next(row for row in table.rows if row.name == DISTILLATION.name)
    assert fresh.entry is not None and fresh.entry.trial.spec.recovery is not None
    assert fresh.entry.trial.spec.recovery.fresh and fresh.entry.trial.warm_start is None
