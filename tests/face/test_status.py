"""How a study stands, as `status` and `studies` tell it while it runs and afterwards."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from autocompress.search.pace import Snapshot
from autocompress.search.report.front import Front
from autocompress.search.report.standing import read_standing
from autocompress.search.store.lock import locked
from autocompress.search.store.status import StatusKeeper
from autocompress.search.worker_state import IDLE, WorkerState

pytestmark = pytest.mark.slow

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def study(finished: Front, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished.folder, tmp_path / "runs" / finished.folder.name))


def test_a_study_that_nobody_searches_tells_what_became_of_it(finished: Front, study: Path, cli: Cli) -> None:
    before = {path: path.stat().st_mtime_ns for path in study.rglob("*")}
    code, out, _ = cli("status", study)
    counts = Counter(str(trial.state) for trial in finished.trials)
    assert code == 0 and "no search runs" in out and f"{counts['finished']} finished" in out
    best = finished.fitting[0]
    assert f"trial {best.number}" in out and best.metric_text in out
    told = json.loads(cli("status", study, "--json")[1])
    assert told["trials"] == dict(counts) and told["best"]["trial"] == best.number and not told["running"]
    assert told["best"]["p50_ms"] == pytest.approx(best.reported_latency.p50_ms)
    assert {path: path.stat().st_mtime_ns for path in study.rglob("*")} == before, "it reads, and writes nothing"


def test_a_running_search_is_seen_from_another_terminal(finished: Front, study: Path, cli: Cli) -> None:
    keeper = StatusKeeper(study)
    with locked(study):
        assert "open, process" in cli("status", study)[1], "it has said nothing of itself yet"
        keeper.look(Snapshot(finished.trials, 2, ["trial 9 (learned): training"], 30.0, waiting=3), 125.0)
        code, out, _ = cli("status", study)
        assert code == 0 and f"running, process {os.getpid()} on" in out and "2 min left" in out
        assert "trial 9 (learned): training" in out and "3 waiting at a rung" in out
        assert "running" in cli("studies", study.parent)[1]
        keeper.look(Snapshot(finished.trials, 2, ["another"], 31.0), 124.0)
        assert "another" not in cli("status", study)[1], "it is noted every few seconds alone"
    assert read_standing(study).status is None and "no search runs" in cli("status", study)[1]


def test_it_is_told_who_works_where(finished: Front, study: Path, cli: Cli) -> None:
    now_s = time.time()
    workers = [
        WorkerState("node-b", 1, IDLE, now_s - 30),
        WorkerState("node-a", 2, "training, rung 1 of 2", now_s - 600, 9, 4321),
        WorkerState("node-a", 1, "measuring its shape", now_s, 12),
    ]
    doing = ["trial 9 (learned): training, rung 1 of 2", "trial 12 (move of 3): measuring its shape", "trial 13: waits"]
    with locked(study):
        StatusKeeper(study, lambda: workers).look(Snapshot(finished.trials, 2, doing, 30.0, waiting=4), None)
        code, out, _ = cli("status", study)
        told = json.loads(cli("status", study, "--json")[1])
    assert code == 0 and "3 running, 1 of them queued, 4 waiting at a rung" in out
    lines = [line.split()[1:] for line in out.splitlines() if line.split()[0] == "worker"]
    assert [line[:2] for line in lines] == [["node-a", "1"], ["node-a", "2"], ["node-b", "1"]], "machine by machine"
    assert lines[1][2:] == ["trial", "9", "10", "min"] and " ".join(lines[2][2:]) == f"{IDLE} 30 s"
    assert told["queued"] == 1 and len(told["workers"]) == 3
    assert told["workers"][1] == {
        "host": "node-a", "number": 2, "doing": "training, rung 1 of 2", "since_s": now_s - 600, "trial": 9,
        "process": 4321,
    }  # fmt: skip


def test_a_note_of_an_earlier_version_is_read(finished: Front, study: Path, cli: Cli) -> None:
    with locked(study):
        StatusKeeper(study).look(Snapshot(finished.trials, 2, ["trial 9"], 30.0), None)
        path = study / "status.json"
        noted = json.loads(path.read_text())
        del noted["workers"]
        path.write_text(json.dumps(noted))
        code, out, _ = cli("status", study)
    assert code == 0 and "1 running, 0 waiting" in out and "worker" not in out


def test_studies_are_listed_also_where_one_cannot_be_read(study: Path, cli: Cli) -> None:
    broken = study.parent / "broken"
    broken.mkdir()
    (broken / "study.json").write_text("{")
    code, out, _ = cli("studies", study.parent)
    lines = out.splitlines()
    assert code == 0 and len(lines) == 2
    assert lines[0].startswith("broken") and "cannot be read" in lines[0]
    assert lines[1].startswith(study.name) and "trial" in lines[1]
    for folder in (study.parent / "none", study):
        code, _, err = cli("studies", folder)
        assert code == 2 and len(err.splitlines()) == 1
